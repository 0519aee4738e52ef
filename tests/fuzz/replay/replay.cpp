// Runs a fuzz harness without libFuzzer, the same each time: every seed, then a number of mutations of them.
//
//   fuzz_replay pts_fuzz --found=FOLDER SEEDS...        as ctest does; SEEDS are files and folders of files
//   fuzz_replay pts_fuzz --mutations=0 FILE             one input again
//
// The input at which a harness fails is left in FOLDER. Options: --mutations=N, --megabytes=N (no more of them than that
// together), --number=N (another series of mutations), --seconds=N (of the processor, for one input).
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "tests/fuzz/replay/harnesses.h"
#include "tests/fuzz/replay/mutations.h"

extern "C" {
void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));
// As libFuzzer has it: what is too large to allocate is a parser's own business, what a process may use has an end.
const char* __asan_default_options() { return "allocator_may_return_null=1:hard_rss_limit_mb=2048"; }
}

namespace gatehouse::fuzz {
namespace {

struct Options {
  std::uint64_t mutations = 2000, megabytes = 8, number = 1, seconds = 20;
  std::string found;
} options;

// The input that is being parsed, for whoever finds the process dead.
const std::uint8_t* current = nullptr;
std::size_t current_size = 0;
char found_path[4096];

// Where nothing may be allocated any more.
void keep_input() {
  const auto say = [](std::string_view text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); };
  if (current == nullptr) return;
  if (found_path[0] == '\0') return say("\nno --found=FOLDER to leave the input in\n");
  const int file = ::open(found_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const bool written = file >= 0 && ::write(file, current, current_size) == ::ssize_t(current_size);
  say(written ? "\nthe input is in " : "\nthe input couldn't be written to ");
  say(found_path);
  say("\n");
  current = nullptr;
}
void on_signal(int number) {
  if (number == SIGPROF) (void)!::write(STDERR_FILENO, "\nthe input takes too long\n", 26);
  keep_input();
  ::signal(number, SIG_DFL);
  ::raise(number);
}
void watch_for_death() {
  // The sanitizer has the signals of faults; an abort is nobody's but ours.
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(keep_input);
  else for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(number, on_signal);
  for (const int number : {SIGABRT, SIGPROF}) ::signal(number, on_signal);
}

// In a block of its own of just its size: a byte read beyond it is seen.
void run(const Harness& harness, const Input& input) {
  const auto own = std::make_unique_for_overwrite<std::uint8_t[]>(input.size());
  std::copy(input.begin(), input.end(), own.get());
  current = own.get();
  current_size = input.size();
  const itimerval most{{0, 0}, {::time_t(options.seconds), 0}};
  ::setitimer(ITIMER_PROF, &most, nullptr);
  (void)harness.run(own.get(), input.size());
  current = nullptr;
}

Input read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), {});
}

// In the order of their names, which don't depend on the machine.
std::vector<Input> read_seeds(std::vector<std::filesystem::path> places) {
  std::vector<std::filesystem::path> files;
  for (const auto& place : places) {
    if (!std::filesystem::is_directory(place)) {
      files.push_back(place);
      continue;
    }
    std::vector<std::filesystem::path> inside;
    for (const auto& entry : std::filesystem::directory_iterator(place)) inside.push_back(entry.path());
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  std::vector<Input> out;
  for (const auto& file : files) out.push_back(read(file));
  return out;
}

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + double(now.tv_nsec) / 1e9;
}

int replay(const Harness& harness, const std::vector<Input>& seeds) {
  const double began = processor_seconds();
  run(harness, {});
  for (const Input& seed : seeds) run(harness, seed);
  const double replayed = processor_seconds();
  Mutations mutations(options.number, seeds);
  std::uint64_t bytes = 0, done = 0;
  for (; done < options.mutations && bytes < options.megabytes << 20; ++done) {
    const Input& input = mutations.next();
    bytes += input.size();
    run(harness, input);
  }
  std::printf("%s: %zu seeds in %.2f s, %llu mutations with %.1f MB in %.2f s\n", std::string(harness.name).c_str(),
              seeds.size(), replayed - began, static_cast<unsigned long long>(done), double(bytes) / 1e6,
              processor_seconds() - replayed);
  return 0;
}

bool take_option(std::string_view argument) {
  if (argument.starts_with("--found=")) {
    options.found = argument.substr(8);
    return !options.found.empty();
  }
  const std::pair<std::string_view, std::uint64_t*> known[] = {{"--mutations=", &options.mutations},
                                                               {"--megabytes=", &options.megabytes},
                                                               {"--number=", &options.number},
                                                               {"--seconds=", &options.seconds}};
  for (const auto& [name, value] : known)
    if (argument.starts_with(name)) {
      const std::string_view number = argument.substr(name.size());
      const auto end = std::from_chars(number.data(), number.data() + number.size(), *value);
      return end.ec == std::errc() && end.ptr == number.data() + number.size();
    }
  return false;
}

int usage(const char* program) {
  std::fprintf(stderr,
               "usage: %s HARNESS [--mutations=N] [--megabytes=N] [--number=N] [--seconds=N] [--found=FOLDER] "
               "FILE-OR-FOLDER...\nharnesses:",
               program);
  for (const Harness& harness : harnesses()) std::fprintf(stderr, " %s", std::string(harness.name).c_str());
  std::fputs("\n", stderr);
  return 2;
}

int main_of(int argc, char** argv) {
  if (argc < 2) return usage(argv[0]);
  const auto all = harnesses();
  const auto harness = std::find_if(all.begin(), all.end(), [&](const Harness& h) { return h.name == argv[1]; });
  std::vector<std::filesystem::path> places;
  for (int i = 2; i < argc; ++i) {
    if (std::string_view(argv[i]).starts_with("--")) {
      if (!take_option(argv[i])) return usage(argv[0]);
    } else {
      places.emplace_back(argv[i]);
    }
  }
  if (harness == all.end()) return usage(argv[0]);
  if (!options.found.empty()) {
    std::filesystem::create_directories(options.found);
    std::snprintf(found_path, sizeof found_path, "%s/%s.input", options.found.c_str(), argv[1]);
  }
  watch_for_death();
  return replay(*harness, read_seeds(std::move(places)));
}

}  // namespace
}  // namespace gatehouse::fuzz

int main(int argc, char** argv) { return gatehouse::fuzz::main_of(argc, argv); }
