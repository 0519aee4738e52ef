// A program of the operator's for each result (`[results] command`), with the session in its environment. One after the
// other, in the order in which results came on record; no session waits for one.
//
//   GH_TRY(auto command, ResultCommand::open({.programs = {.all = {"/etc/gatehouse/on-result"}}}));
//   command->publish(line);
//
// The program is started by a thread that has given up what a program of this kind doesn't need, so that it never had it:
// capabilities, the way to more rights, of root the user and groups, and by Landlock every file but those of the system's
// programs and libraries, some of /etc, itself, and what the operator lets it write to: neither the server's keys nor its
// state. It can't open unix sockets, the server's control socket among them (confined_thread.h). Each process of it may
// have 512 MiB of data, 64 descriptors and the limit in time; its output's beginning is logged when it fails. Standard input is the result's line.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/results/waiting_lines.h"

namespace gatehouse::server {

struct ResultCommandOptions {
  // Program by its absolute path, and arguments; empty: none.
  struct Programs {
    std::vector<std::string> allow, block;  // where the recommendation is allow, where it is anything else
    std::vector<std::string> all;           // behind those
  } programs;
  std::chrono::milliseconds limit{10'000};  // then it is killed with all of its process group
  std::vector<std::string> writes;          // files, and folders with all below them
  bool sandbox = true;                      // false: it may open what the server's user may
  std::size_t most_waiting = 10'000;        // results
};

class ResultCommand {
 public:
  // Usage faults: a program that can't be run. Environment faults: the kernel can't confine it.
  static Result<std::unique_ptr<ResultCommand>> open(ResultCommandOptions options);
  // What can be known of the options without a thread: programs and folders that aren't there.
  static Result<void> check(const ResultCommandOptions& options);
  // What waits is run for five seconds more; the rest is left out.
  ~ResultCommand();
  ResultCommand(const ResultCommand&) = delete;
  ResultCommand& operator=(const ResultCommand&) = delete;

  void publish(ResultLine line);
  DeliveryCounts counts() const;

 private:
  struct Impl;
  explicit ResultCommand(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
