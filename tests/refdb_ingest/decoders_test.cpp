// Decoders in processes of their own: they say what the parsers say, get at nothing else, and fail alone.
#include "refdb/ingest/decoders.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <map>
#include <thread>

#include "base/file.h"
#include "base/writer.h"
#include "refdb/ingest/confinement.h"
#include "refdb/store/open.h"
#include "tests/folder.h"
#include "tests/refdb_ingest/rpm_maker.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using Begin = std::function<void(const std::string&)>;

const std::vector<HashAlgorithm> banks{std::begin(common_banks), std::end(common_banks)};
const std::string list = std::string(64, 'a') + "  /usr/bin/a\n" + std::string(64, 'b') + "  /usr/bin/b\n";

// Written by a decoder, read by the test.
struct Shared {
  std::atomic<pid_t> process{0};
};
std::shared_ptr<Shared> shared() {
  void* const at = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(at, MAP_FAILED);
  return {new (at) Shared, [](Shared* s) { ::munmap(s, sizeof(Shared)); }};
}
[[noreturn]] void for_ever(Shared& s) {
  s.process = ::getpid();
  for (;;) {
  }
}
pid_t wait_for_process(const Shared& s) {
  while (s.process == 0) std::this_thread::yield();
  return s.process;
}
std::map<std::string, std::string> status_of(pid_t process) {
  std::map<std::string, std::string> out;
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(file, line);)
    if (const std::size_t colon = line.find(":\t"); colon != line.npos)
      out[line.substr(0, colon)] = line.substr(colon + 2);
  return out;
}

class DecoderProcesses : public ::testing::Test {
 protected:
  DecoderProcesses() { folder_.write("list", list); }
  std::unique_ptr<Decoders> start(Begin begin, unsigned at_once = 1) const {
    return Decoders::start({at_once, true, std::move(begin)}).value();
  }
  Result<ReferencePackage> decode(Decoders& decoders, const std::string& name) const {
    const auto file = FileInput::open(folder_ / "list").value();
    return decoders.decode_one({SourceKind::sums, banks, name, {}}, *file);
  }
  // How it ended, as an operator reads it.
  std::string end_of(Decoders& decoders, const std::string& name) const {
    const auto decoded = decode(decoders, name);
    if (decoded) return decoded->files.size() == 2 ? "decoded" : "something else";
    return std::string(decoded.error().reason) + (decoded.error().detail.empty() ? "" : ": " + decoded.error().detail);
  }
  const Folder folder_;
};

TEST_F(DecoderProcesses, GetAtNothingElse) {
  folder_.write("there", "x");
  // Tried in a decoder: whoever succeeds ends with a code of its own.
  constexpr int succeeded = 42;
  const std::string there = folder_ / "there", made = folder_ / "made";
  const std::map<std::string, std::function<long()>> attempts{
      {"read a file", [&] { return ::open(there.c_str(), O_RDONLY); }},
      {"make a file", [&] { return ::open(made.c_str(), O_WRONLY | O_CREAT, 0600); }},
      {"look for a file", [&] { return ::access(there.c_str(), F_OK); }},
      {"remove a file", [&] { return ::unlink(there.c_str()); }},
      {"rename a file", [&] { return ::rename(there.c_str(), made.c_str()); }},
      {"make a folder", [&] { return ::mkdir(made.c_str(), 0700); }},
      {"make a socket", [] { return ::socket(AF_INET, SOCK_STREAM, 0); }},
      {"make a local socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }},
      {"run a program", [] { return ::execl("/bin/true", "/bin/true", nullptr); }},
      {"fork", [] { return ::fork(); }},
      {"kill who forked it", [] { return ::kill(::getppid(), SIGKILL); }},
      {"become root", [] { return ::setuid(0); }},
      {"trace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
      {"leave its filter", [] { return ::syscall(SYS_seccomp, 1, 0, nullptr); }},
      {"raise its limits",
       [] {
         const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
         return ::setrlimit(RLIMIT_DATA, &all);
       }},
  };
  const auto decoders = start([&](const std::string& name) {
    if (const auto attempt = attempts.find(name); attempt != attempts.end() && attempt->second() >= 0)
      ::_exit(succeeded);
  });
  for (const auto& [name, _] : attempts) {
    const std::string end = end_of(*decoders, name);
    EXPECT_TRUE(end == "decoded" || end == "the decoder died: it tried what no decoder needs: signal 31")
        << name << ": " << end;
    EXPECT_EQ(end_of(*decoders, "the next"), "decoded") << name;
  }
  EXPECT_EQ(as_text(read_file(there, 10).value()), "x");
  EXPECT_FALSE(fs::exists(made));
}

TEST_F(DecoderProcesses, MakeNoCode) {
  if (sanitized) GTEST_SKIP() << "the sanitizers' own calls are allowed";
  const auto decoders = start([](const std::string&) {
    if (::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
      ::_exit(42);
  });
  EXPECT_EQ(end_of(*decoders, "x"), "the decoder died: it tried what no decoder needs: signal 31");
}

TEST_F(DecoderProcesses, HaveNothingOpenButTheirFileAndTheirAnswer) {
  const Descriptor secret(::open((folder_ / "list").c_str(), O_RDONLY));
  const int number = ::fcntl(secret.get(), F_DUPFD, 700);
  const auto decoders = start([&](const std::string&) {
    char c = 0;
    for (int fd = 0, open = 0; fd < 1024; ++fd)
      if (::pread(fd, &c, 1, 0) >= 0 && fd > 2 && ++open > 1) ::_exit(42);
    if (::read(number, &c, 1) >= 0) ::_exit(43);
  });
  EXPECT_EQ(end_of(*decoders, "x"), "decoded");
  ::close(number);
}

TEST_F(DecoderProcesses, DieAlone) {
  const auto decoders = start([](const std::string& name) {
    if (name == "crash") __builtin_trap();
    if (name == "end") ::_exit(7);
    if (name == "throw") throw std::runtime_error("why");
  });
  EXPECT_EQ(end_of(*decoders, "crash"), "the decoder died: signal 4");
  EXPECT_EQ(end_of(*decoders, "end"), "the decoder died: exit code 7");
  EXPECT_EQ(end_of(*decoders, "throw"), "can't be taken in: why");
  EXPECT_EQ(end_of(*decoders, "good"), "decoded");
}

TEST_F(DecoderProcesses, ThatAreKilledDieAlone) {
  const auto state = shared();
  const auto decoders = start([&](const std::string& name) {
    if (name == "loop") for_ever(*state);
  });
  std::map<std::string, std::string> status;
  std::thread killer([&] {
    const pid_t process = wait_for_process(*state);
    status = status_of(process);
    ::kill(process, SIGKILL);
  });
  EXPECT_EQ(end_of(*decoders, "loop"), "the decoder died: signal 9");
  killer.join();
  EXPECT_EQ(end_of(*decoders, "good"), "decoded");
  // What it was allowed.
  EXPECT_EQ(status["NoNewPrivs"], "1");
  EXPECT_EQ(status["Seccomp"], "2");
  EXPECT_EQ(status["CapEff"], "0000000000000000");
  EXPECT_TRUE(::geteuid() != 0 || status["Uid"] == "65534\t65534\t65534\t65534") << status["Uid"];
}

TEST_F(DecoderProcesses, ThatTellLiesAreStopped) {
  const auto state = shared();
  const auto decoders = start([&](const std::string& name) {
    if (name == "good") return;
    // On whatever is its socket; then it doesn't end by itself. "Z" is no letter, and "D" that it has said all.
    for (int fd = 3; fd < 16; ++fd)
      if (name == "silence")
        ::close(fd);
      else
        (void)!::write(fd, name == "lies" ? "\0\0\0\1Z" : "\0\0\0\1D", 5);
    for_ever(*state);
  });
  EXPECT_EQ(end_of(*decoders, "lies"), "what the decoder says is no answer");
  EXPECT_EQ(end_of(*decoders, "nothing"), "what the decoder says is no answer");
  EXPECT_EQ(end_of(*decoders, "silence"), "the decoder died: signal 9");
  EXPECT_EQ(end_of(*decoders, "good"), "decoded");
}

TEST_F(DecoderProcesses, GetNoMoreMemoryThanAllowed) {
  if (sanitized) GTEST_SKIP() << "the sanitizers need more";
  folder_.write("package.deb", "!<arch>\n");
  const auto decoders = start([&](const std::string&) {
    std::vector<std::vector<char>> all;
    for (int i = 0; i < 1024; ++i) all.emplace_back(std::size_t(1) << 20, 'x');
  });
  const auto file = FileInput::open(folder_ / "package.deb").value();
  const auto decoded = decoders->decode({SourceKind::deb, banks, "x", {}}, *file);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().reason, "it needs more memory than allowed");
  EXPECT_EQ(decoded.error().fault, Fault::limit);
}

TEST_F(DecoderProcesses, EndWithWhoStartedThem) {
  // Orphans come to this process, which can then wait for them.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  const auto state = shared();
  const pid_t ingestion = ::fork();
  if (ingestion == 0) {
    const auto decoders = start([&](const std::string&) { for_ever(*state); });
    (void)decode(*decoders, "loop");
    ::_exit(0);
  }
  const pid_t decoder = wait_for_process(*state);
  ASSERT_EQ(::kill(ingestion, SIGKILL), 0);
  // Until there are none; the decoder, which wouldn't end by itself, may have been waited for by who forked it.
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  EXPECT_TRUE(::kill(decoder, 0) < 0 && errno == ESRCH);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

TEST_F(DecoderProcesses, ServeAsManyThreadsAsThereAre) {
  const auto decoders = start({}, 2);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) good += end_of(*decoders, "x") == "decoded";
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
}

// Files that somebody vouches for together share a decoder for a while.
class DecodersOfLots : public DecoderProcesses {
 protected:
  struct Seen {
    std::atomic<std::size_t> count{0};
    pid_t processes[256] = {};
  };
  DecodersOfLots()
      : seen_(new (::mmap(nullptr, sizeof(Seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Seen) {}
  ~DecodersOfLots() override { ::munmap(seen_, sizeof(Seen)); }
  std::unique_ptr<Decoders> start_seeing(Begin begin = {}, unsigned at_once = 1) const {
    return start(seeing(std::move(begin)), at_once);
  }
  Begin seeing(Begin begin = {}) const {
    return [seen = seen_, begin = std::move(begin)](const std::string& name) {
      seen->processes[seen->count++] = ::getpid();
      if (begin) begin(name);
    };
  }
  std::string end_of(Decoders& decoders, Lot lot, const std::string& name = "x", const std::string& path = "list") const {
    const auto file = FileInput::open(folder_ / path).value();
    const auto decoded = decoders.decode_one({SourceKind::sums, banks, name, {}, {}, lot}, *file);
    return decoded ? std::to_string(decoded->files.size()) : decoded.error().text();
  }
  // How many files each decoder had, one after the other.
  std::vector<std::size_t> files_of_each() const {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < seen_->count; ++i) {
      if (i == 0 || seen_->processes[i] != seen_->processes[i - 1]) out.push_back(0);
      ++out.back();
    }
    return out;
  }
  using Counts = std::vector<std::size_t>;
  Seen* const seen_;
};

TEST_F(DecodersOfLots, HaveFilesOfOneLotAndNotManyOfThem) {
  const auto decoders = start_seeing();
  const Lot one = decoders->lot(), other = decoders->lot();
  ASSERT_NE(one, other);
  for (int i = 0; i < 70; ++i) ASSERT_EQ(end_of(*decoders, one), "2");
  EXPECT_EQ(files_of_each(), (Counts{64, 6}));
  for (const Lot lot : {other, other, Lot::none, Lot::none, one, one, Lot::none}) ASSERT_EQ(end_of(*decoders, lot), "2");
  EXPECT_EQ(files_of_each(), (Counts{64, 6, 2, 1, 1, 2, 1}));
}

TEST_F(DecodersOfLots, OfALongFileHaveNothingElse) {
  const std::string comment = "#" + std::string(60'000, 'x') + "\n";
  std::string text = list;
  while (text.size() <= std::size_t(4) << 20) text += comment;
  folder_.write("long", text);
  const auto decoders = start_seeing();
  const Lot lot = decoders->lot();
  for (const char* const path : {"list", "list", "long", "long", "list"}) ASSERT_EQ(end_of(*decoders, lot, "x", path), "2");
  EXPECT_EQ(files_of_each(), (Counts{2, 1, 1, 1}));
}

// What was said before stands, what comes after is another one's.
TEST_F(DecodersOfLots, EndWithTheFileThatIsBad) {
  folder_.write("bad", "no list");
  const auto decoders = start_seeing([](const std::string& name) {
    if (name == "crash") __builtin_trap();
  });
  const Lot lot = decoders->lot();
  EXPECT_EQ(end_of(*decoders, lot), "2");
  EXPECT_EQ(end_of(*decoders, lot, "crash"), "environment: the decoder died: signal 4");
  EXPECT_EQ(end_of(*decoders, lot), "2");
  EXPECT_EQ(end_of(*decoders, lot), "2");
  EXPECT_EQ(end_of(*decoders, lot, "y", "bad"), "byte 0: malformed: not a line of a sha256sum list (sha256sum)");
  EXPECT_EQ(end_of(*decoders, lot), "2");
  EXPECT_EQ(files_of_each(), (Counts{2, 3, 1}));
}

TEST_F(DecodersOfLots, HaveNoFileButTheirNewest) {
  const auto decoders = start([](const std::string&) {
    char c = 0;
    int open = 0;
    for (int fd = 3; fd < 1024; ++fd) open += ::pread(fd, &c, 1, 0) >= 0;
    if (open != 1) ::_exit(42);
  });
  const Lot lot = decoders->lot();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(end_of(*decoders, lot), "2");
}

// Killed while it waits for another file, by the kernel or an operator.
TEST_F(DecodersOfLots, ThatAreGoneFailOneFileAtMost) {
  const auto decoders = start_seeing();
  const Lot lot = decoders->lot();
  ASSERT_EQ(end_of(*decoders, lot), "2");
  const pid_t process = seen_->processes[0];
  ASSERT_EQ(::kill(process, SIGKILL), 0);
  EXPECT_EQ(end_of(*decoders, lot), "environment: the decoder died: signal 9");
  EXPECT_EQ(end_of(*decoders, lot), "2");
}

TEST_F(DecodersOfLots, GoOnAfterAnRpmPackageThatIsKnown) {
  testing::RpmMaker maker;
  maker.add({.path = "/usr/bin/a", .content = "a"});
  folder_.write("a.rpm", maker.package());
  const auto decoders = start_seeing();
  const Lot lot = decoders->lot();
  const auto file = FileInput::open(folder_ / "a.rpm").value();
  std::size_t files = 0;
  for (const bool wanted : {true, false, false, true}) {
    auto rpm = decoders->open_rpm(*file, "a.rpm", {}, lot);
    ASSERT_TRUE(rpm) << rpm.error().text();
    if (!wanted) continue;
    const auto package = rpm->references({HashAlgorithm::sha256}, [&](ReferenceFile&&) -> Result<void> {
      ++files;
      return {};
    });
    ASSERT_TRUE(package) << package.error().text();
  }
  EXPECT_EQ(files, 2U);
  EXPECT_EQ(files_of_each(), Counts{4});
}

TEST_F(DecodersOfLots, ServeAsManyThreadsAsThereAre) {
  const auto decoders = start({}, 2);
  const Lot lots[] = {decoders->lot(), decoders->lot(), Lot::none};
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 30; ++i) good += end_of(*decoders, lots[(t + i / 10) % 3]) == "2";
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 120);
}

// Who names a folder vouches for what is in it; who names files, for each.
TEST_F(DecodersOfLots, AreOfAFolderAsTheOperatorNamesIt) {
  for (const char* const name : {"a", "b", "c"}) {
    testing::RpmMaker maker;
    maker.add({.path = std::string("/usr/bin/") + name, .content = name});
    folder_.write("rpms/" + std::string(name) + ".rpm", maker.package());
  }
  IngestOptions options;
  options.product = "P";
  options.in_decoder = seeing();
  std::string digests[2];
  for (const bool folder : {true, false}) {
    seen_->count = 0;
    options.refdb = folder_ / (folder ? "by-folder" : "by-file");
    options.sources.clear();
    if (folder)
      options.sources.push_back(folder_ / "rpms");
    else
      for (const char* const name : {"a", "b", "c"}) options.sources.push_back(folder_ / "rpms/" + name + ".rpm");
    options.jobs = 1;
    const auto report = ingest(options);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_EQ(report->packages, 3U);
    EXPECT_EQ(files_of_each(), folder ? Counts{3} : (Counts{1, 1, 1}));
    digests[folder] = read_stats(options.refdb)->content_digest;
  }
  EXPECT_EQ(digests[0], digests[1]);
}

// One of several sources takes its decoder over; the others are taken in.
TEST_F(DecoderProcesses, AnIngestionGoesOnWithoutThePackageThatKilledItsDecoder) {
  IngestOptions options;
  options.refdb = folder_ / "refdb";
  options.product = "P";
  options.jobs = 2;
  for (const char* const name : {"a", "bad", "c"}) {
    folder_.write(name, std::string(64, name[0]) + "  /usr/bin/" + name + "\n");
    options.sources.push_back("sha256sums:" + folder_ / name);
  }
  options.in_decoder = [](const std::string& name) {
    if (name.ends_with("/bad")) ::_exit(9);
  };
  const auto report = ingest(options);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->files, 2U);
  ASSERT_EQ(report->failed.size(), 1U);
  EXPECT_EQ(report->failed[0].reason, folder_ / "bad" + ": environment: the decoder died: exit code 9");
  options.in_decoder = {};
  const auto again = ingest(options);
  EXPECT_EQ(again->files, 1U);
  EXPECT_TRUE(again->failed.empty());
}

// Packages, lists and what is none of them: the same contents and the same reasons in either way.
TEST_F(DecoderProcesses, SayWhatTheParsersSay) {
  IngestOptions options;
  options.product = "P";
  options.jobs = 2;
  for (const std::string folder :
       {GATEHOUSE_TEST_DATA "/rpm", GATEHOUSE_SHARED "/corpus/packages", GATEHOUSE_SHARED "/corpus/swid"})
    if (fs::exists(folder))
      for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        const std::string path = entry.path().string();
        if (entry.path().extension() == ".deb" || entry.path().extension() == ".rpm") {
          options.sources.push_back(path);
          options.sources.push_back("oci:" + path);
        }
        options.sources.push_back((entry.path().extension() == ".swidtag" ? "swid:" : "initramfs:") + path);
      }
  options.sources.push_back("sha256sums:" + folder_ / "list");
  folder_.write("policy", R"({"digests":{"/usr/bin/x":[")" + std::string(64, 'c') + R"("]}})");
  options.sources.push_back("keylime:" + folder_ / "policy");
  options.sources.push_back("keylime:" + folder_ / "list");
  options.sources.push_back("ima:" + folder_ / "list");
  std::vector<std::string> said[2];
  for (const bool sandbox : {false, true}) {
    options.sandbox = sandbox;
    options.refdb = folder_ / (sandbox ? "confined" : "here");
    const auto report = ingest(options);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_GT(report->packages, 3U);
    EXPECT_GT(report->failed.size(), 10U);
    said[sandbox].push_back(read_stats(options.refdb)->content_digest);
    for (const FailedSource& f : report->failed) said[sandbox].push_back(f.source + " " + f.reason);
  }
  EXPECT_EQ(said[0], said[1]);
}

// What is asked of a package before it is known whether it is wanted.
TEST_F(DecoderProcesses, SayWhichDebianPackageItIs) {
  const std::string folder = GATEHOUSE_SHARED "/corpus/packages";
  if (!fs::exists(folder)) GTEST_SKIP() << "no " << folder;
  std::size_t with_section = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".deb") continue;
    const auto file = FileInput::open(entry.path().string()).value();
    const auto pinned = PinnedInput::open(*file, HashAlgorithm::sha256).value();
    for (const bool confined : {false, true}) {
      const auto decoders = Decoders::start({.at_once = 1, .confined = confined}).value();
      for (const auto& pin : {std::optional<PinnedInput::Pin>(), std::optional(pinned->pin())}) {
        const auto said = decoders->deb_control(*file, "x", pin);
        const auto is = read_deb_control(*file, "x");
        ASSERT_TRUE(said && is) << said.error().text();
        EXPECT_EQ(said->name + "|" + said->section + "|" + said->priority,
                  is->name + "|" + is->section + "|" + is->priority);
        with_section += !said->section.empty();
      }
    }
  }
  EXPECT_GT(with_section, 0U);
  const auto decoders = start({});
  EXPECT_EQ(decoders->deb_control(*FileInput::open(folder_ / "list").value(), "x", {}).error().reason,
            read_deb_control(*FileInput::open(folder_ / "list").value(), "x").error().reason);
}

TEST(Confinement, EndsWhoTakesMoreTimeThanAllowed) {
  const auto allowed = SystemCalls::for_decoders().value();
  const pid_t child = ::fork();
  if (child == 0) {
    if (!confine(allowed, {0, 0, 1})) ::_exit(1);
    for (;;) {
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGXCPU);
}

// A decoder that was taken over says what it likes.
TEST(DecoderAnswers, AreBelievedOnlyInTheirForm) {
  ReferencePackage package;
  package.name = "bash";
  package.version = "5.2";
  for (const char* const path : {"/usr/bin/bash", "/usr/bin/bashbug", "/etc/bash.bashrc"}) {
    ReferenceFile file{path, 77, path[1] == 'e', {}, false, {}};
    for (const HashAlgorithm a : {HashAlgorithm::sha512, HashAlgorithm::sha1, HashAlgorithm::sm3_256})
      file.digests.emplace_back(a, digest_of(HashAlgorithm::sha512, as_bytes(path)).view().first(digest_size(a)));
    package.files.push_back(file);
  }
  std::vector<ByteVector> messages;
  ASSERT_TRUE(send_package(ReferencePackage(package), [&](Bytes message) -> Result<void> {
    messages.push_back(to_vector(message));
    return {};
  }));
  ASSERT_EQ(messages.size(), 2U);
  Answer answer(3, 1000);
  for (const ByteVector& m : messages) EXPECT_FALSE(answer.take(m).value());
  EXPECT_TRUE(answer.take(done_message()).value());
  ASSERT_EQ(answer.packages().size(), 1U);
  const ReferencePackage& came = answer.packages().front();
  EXPECT_EQ(came.name + came.version, "bash5.2");
  ASSERT_EQ(came.files.size(), 3U);
  EXPECT_EQ(came.files[1].path, "/usr/bin/bashbug");
  EXPECT_TRUE(came.files[2].is_mutable);
  EXPECT_EQ(came.files[0].digests.size(), 3U);

  const auto refused = [&](Bytes message, std::uint64_t files = 3, std::uint64_t bytes = 1000) {
    Answer other(files, bytes);
    EXPECT_TRUE(other.take(messages[0]));
    const auto taken = other.take(message);
    return !taken && taken.error().reason == "what the decoder says is no answer" &&
           taken.error().fault == Fault::internal;
  };
  EXPECT_FALSE(refused(messages[1]));
  EXPECT_TRUE(refused(messages[1], 2));
  EXPECT_TRUE(refused(messages[1], 3, 20));
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused(Bytes(messages[1]).first(messages[1].size() - 1)));
  EXPECT_TRUE(refused(Bytes(messages[0]).first(messages[0].size() - 1)));
  EXPECT_TRUE(refused(as_bytes("Dx")));
  EXPECT_TRUE(refused(as_bytes("E")));
  EXPECT_TRUE(refused(as_bytes("H")));
  Answer none(3, 1000);
  EXPECT_FALSE(none.take(messages[1]));  // files of no package
}

// Further contents, scripts and warnings; and what none of them may be.
TEST(DecoderAnswers, HaveAllThatAPackageHas) {
  const auto digests_of = [](const std::string& content) {
    return std::vector<std::pair<HashAlgorithm, Digest>>{
        {HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes(content))}};
  };
  ReferencePackage package;
  // Longer than a message, in its files and in the further contents of one.
  constexpr std::size_t many = 20'000;
  for (std::size_t i = 0; i < many; ++i)
    package.files.push_back({"/f" + std::to_string(i), i, i % 2 == 0, digests_of(std::to_string(i)), i % 3 == 0, {}});
  for (std::size_t i = 0; i < many; ++i) package.files[7].further.push_back({i, digests_of("x" + std::to_string(i))});
  package.files[8].further.push_back({1, digests_of("y")});
  package.files.push_back(package.files.back());  // twice, which isn't a further content
  package.warnings = {"a\x01", std::string(5000, 'w')};
  std::vector<ByteVector> messages;
  ASSERT_TRUE(send_package(ReferencePackage(package), [&](Bytes message) -> Result<void> {
    EXPECT_LT(message.size(), std::size_t(300) << 10);
    messages.push_back(to_vector(message));
    return {};
  }));
  Answer answer(2 * many + 2, std::size_t(1) << 20);
  EXPECT_FALSE(answer.take(note_message("of the whole")).value());
  for (const ByteVector& m : messages) ASSERT_FALSE(answer.take(m).value());
  EXPECT_TRUE(answer.take(done_message()).value());
  EXPECT_EQ(answer.all().notes, std::vector<std::string>{"of the whole"});
  const ReferencePackage& came = answer.packages().at(0);
  ASSERT_EQ(came.files.size(), package.files.size());
  for (std::size_t i = 0; i < came.files.size(); ++i) {
    const ReferenceFile &is = came.files[i], &was = package.files[i];
    ASSERT_TRUE(is.path == was.path && is.size == was.size && is.is_mutable == was.is_mutable &&
                is.is_extra == was.is_extra && is.digests == was.digests && is.further.size() == was.further.size());
    for (std::size_t f = 0; f < is.further.size(); ++f)
      ASSERT_TRUE(is.further[f].size == was.further[f].size && is.further[f].digests == was.further[f].digests);
  }
  EXPECT_EQ(came.warnings, (std::vector<std::string>{"a\\x01", std::string(1000, 'w') + "..."}));
  // Each further content counts.
  Answer small(2 * many, std::size_t(1) << 20);
  EXPECT_FALSE(std::ranges::all_of(messages, [&](const ByteVector& m) { return small.take(m).has_value(); }));

  const auto refused = [&](const std::string& message, bool products = false, const std::string& product = {}) {
    Answer other(10, 1000, products);
    ReferencePackage first{.product = product, .files = {{"/a", 1, false, digests_of("a"), false, {}}}};
    bool good = true;
    EXPECT_TRUE(send_package(std::move(first), [&](Bytes m) -> Result<void> {
      good = good && other.take(m).has_value();
      return {};
    }));
    return !good || !other.take(as_bytes(message));
  };
  // A row with a content of 32 bytes.
  const auto row = [](char letter, const std::string& path, bool is_mutable = false) {
    return letter + std::string(1, char(10 + is_mutable)) + std::string("\0\0", 2) + char(path.size()) + path + "\1" +
           std::string(32, 'd');
  };
  EXPECT_FALSE(refused(row('M', "/a")));
  EXPECT_TRUE(refused(row('M', "/b")));
  EXPECT_TRUE(refused(row('M', "/a", true)));
  EXPECT_FALSE(refused(row('F', "/a", true)));
  EXPECT_TRUE(refused(row('F', "/b") + row('F', "/b", true).substr(1)));
  EXPECT_TRUE(refused(row('M', "/a") + row('M', "/b").substr(1)));
  EXPECT_TRUE(refused(std::string("W\0\0\0\1\n", 6)));
  EXPECT_TRUE(refused(std::string("W\0\0\x10\0", 5) + std::string(4096, 'x')));
  std::size_t notes = 0;
  for (Answer talks(1, 1); talks.take(note_message("x")); ++notes) ASSERT_LT(notes, 1000U);
  EXPECT_TRUE(refused("I"));
  EXPECT_TRUE(refused(row('F', "/b"), false, "Debian"));  // the ingestion's product counts
  EXPECT_FALSE(refused(row('F', "/b"), true, "Debian"));
  EXPECT_TRUE(refused(row('F', "/b"), true));
  EXPECT_TRUE(refused(row('F', "/b"), true, "a\x1b"));
}

TEST(DecoderAnswers, KeepAnErrorsReason) {
  Answer answer(1, 1);
  const auto failed = answer.take(error_message({Fault::limit, "too much", "deb(5)", 77, "ignored", "by\x01 far"}));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().fault, Fault::limit);
  EXPECT_EQ(failed.error().reason, "too much");
  EXPECT_EQ(failed.error().spec, "deb(5)");
  EXPECT_EQ(failed.error().offset, 77U);
  EXPECT_EQ(failed.error().source, "");
  EXPECT_EQ(failed.error().detail, "by\\x01 far");
  // Reasons stay; there is room for those that there are, and not for any number.
  EXPECT_EQ(lasting("too much").data(), failed.error().reason.data());
  EXPECT_EQ(lasting("a\x1b[2J"), "a reason that isn't one for people");
  EXPECT_EQ(lasting(std::string(301, 'x')), "a reason that isn't one for people");
  const pid_t child = ::fork();
  if (child == 0) {
    for (int i = 0; i < 2000; ++i) (void)lasting(std::to_string(i));
    ::_exit(lasting("one more") == "a reason that isn't one for people" && lasting("too much") == "too much" ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(DecoderAnswers, OfRpmPackagesHaveAHead) {
  const RpmHead head{"bash", true, {ByteVector(3, std::byte{7}), ByteVector()}, {}, 0, 0};
  const ByteVector message = head_message(head);
  const RpmHead came = parse_head(message).value();
  EXPECT_TRUE(came.binds_files);
  EXPECT_EQ(came.name, "bash");
  EXPECT_EQ(came.signatures, head.signatures);
  for (std::size_t n = 0; n < message.size(); ++n) EXPECT_FALSE(parse_head(Bytes(message).first(n))) << n;
  EXPECT_EQ(parse_head(error_message({Fault::malformed, "no lead", {}, 0, {}, {}})).error().reason, "no lead");
}

}  // namespace
}  // namespace gatehouse::refdb
