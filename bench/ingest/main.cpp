// gatehouse-ingest-bench: what taking packages in costs at least, on this machine and now. `decode`: decompressing the
// data archives of Debian packages, and SHA-256 over what comes out; `headers`: reading the headers of RPM packages.
// Nothing is parsed that needn't be, and nothing is checked: these are limits to hold an ingestion against.
#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "base/hash.h"

namespace {

using namespace gatehouse;
namespace fs = std::filesystem;

constexpr std::size_t block = std::size_t(1) << 18;

[[noreturn]] void give_up(const std::string& file, const char* why) {
  std::fprintf(stderr, "gatehouse-ingest-bench: %s: %s\n", file.c_str(), why);
  std::exit(4);
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + double(now.tv_nsec) / 1e9;
}

// The part of a file from `at` on, as far as it goes.
std::size_t read_at(int file, std::uint64_t at, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(file, out.data() + done, out.size() - done, off_t(at + done));
    if (n <= 0) break;
    done += std::size_t(n);
  }
  return done;
}

struct Place {
  std::uint64_t at = 0, size = 0;
};
// Of the member data.tar.* of an ar archive (deb(5)).
Place data_archive(int file, const std::string& path) {
  char head[60];
  for (std::uint64_t at = 8; read_at(file, at, std::as_writable_bytes(std::span(head))) == sizeof head;) {
    const std::string_view text(head, sizeof head);
    const std::uint64_t size = std::strtoull(std::string(text.substr(48, 10)).c_str(), nullptr, 10);
    if (text.starts_with("data.tar")) return {at + 60, size};
    at += 60 + size + (size & 1);
  }
  give_up(path, "no data archive");
}

class Decoder {
 public:
  Decoder() : in_(block), out_(block), hasher_(HashAlgorithm::sha256) {}
  // How many bytes came out.
  std::uint64_t decode(const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) give_up(path, "can't be opened");
    file_ = file.get();
    place_ = data_archive(file_, path);
    hasher_.start();
    total_ = 0;
    std::byte magic[4];
    if (read_at(file_, place_.at, magic) != sizeof magic) give_up(path, "truncated");
    if (magic[0] == std::byte{0xfd})
      decode_xz(path);
    else if (magic[0] == std::byte{0x28})
      decode_zstd(path);
    else
      give_up(path, "neither xz nor zstd");
    (void)hasher_.finish();
    return total_;
  }

 private:
  // The next compressed bytes; none: there are no more.
  Bytes next() {
    const std::size_t n =
        read_at(file_, place_.at, std::span(in_).first(std::size_t(std::min<std::uint64_t>(block, place_.size))));
    place_.at += n;
    place_.size -= n;
    return Bytes(in_).first(n);
  }
  void take(std::size_t n) {
    hasher_.update(Bytes(out_).first(n));
    total_ += n;
  }

  void decode_xz(const std::string& path) {
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&stream, UINT64_MAX, 0) != LZMA_OK) give_up(path, "no decoder");
    for (lzma_ret state = LZMA_OK; state == LZMA_OK;) {
      if (stream.avail_in == 0) {
        const Bytes bytes = next();
        stream.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
        stream.avail_in = bytes.size();
      }
      stream.next_out = reinterpret_cast<std::uint8_t*>(out_.data());
      stream.avail_out = out_.size();
      state = lzma_code(&stream, stream.avail_in == 0 ? LZMA_FINISH : LZMA_RUN);
      if (state != LZMA_OK && state != LZMA_STREAM_END) give_up(path, "damaged");
      take(out_.size() - stream.avail_out);
    }
    lzma_end(&stream);
  }

  void decode_zstd(const std::string& path) {
    const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
    for (Bytes bytes = next(); !bytes.empty(); bytes = next()) {
      ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
      // Once what is in the decoder doesn't fill the buffer, it needs more.
      for (bool full = true; in.pos < in.size || full;) {
        ZSTD_outBuffer out{out_.data(), out_.size(), 0};
        if (ZSTD_isError(ZSTD_decompressStream(context.get(), &out, &in)) != 0) give_up(path, "damaged");
        full = out.pos == out.size;
        take(out.pos);
      }
    }
  }

  ByteVector in_, out_;
  Hasher hasher_;
  int file_ = -1;
  Place place_;
  std::uint64_t total_ = 0;
};

std::uint64_t big_endian(Bytes bytes) {
  std::uint64_t out = 0;
  for (const std::byte b : bytes) out = out << 8 | std::to_integer<std::uint64_t>(b);
  return out;
}

// Lead, signature and header of an RPM package (rpm.org, "RPM V4 Package Format"): how many bytes that is.
std::uint64_t read_headers(const std::string& path, ByteVector& buffer) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) give_up(path, "can't be opened");
  std::uint64_t at = 96;
  for (int header = 0; header < 2; ++header) {
    std::byte head[16];
    if (read_at(file.get(), at, head) != sizeof head) give_up(path, "truncated");
    const std::uint64_t size = 16 * big_endian(Bytes(head).subspan(8, 4)) + big_endian(Bytes(head).subspan(12, 4));
    if (size > std::uint64_t(64) << 20) give_up(path, "not an RPM package");
    buffer.resize(std::max(buffer.size(), std::size_t(size)));
    if (read_at(file.get(), at + 16, std::span(buffer).first(std::size_t(size))) != size) give_up(path, "truncated");
    at += 16 + size;
    if (header == 0) at = (at + 7) / 8 * 8;
  }
  return at;
}

struct Options {
  std::vector<std::string> paths;
  unsigned jobs = 2;
  bool json = false;
};

// Each file by one of `jobs` threads, the largest first; `make` makes what a thread needs, which is called with a path.
template <class Make>
void run(const Options& o, const Make& make) {
  std::vector<std::pair<std::uint64_t, std::string>> files;
  for (const std::string& path : o.paths) {
    if (!fs::is_directory(path)) {
      files.emplace_back(fs::file_size(path), path);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() == ".rpm") files.emplace_back(entry.file_size(), entry.path().string());
  }
  std::sort(files.rbegin(), files.rend());
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> bytes{0};
  const auto begun = std::chrono::steady_clock::now();
  std::vector<std::jthread> workers;
  for (unsigned i = 0; i < o.jobs; ++i)
    workers.emplace_back([&] {
      auto work = make();
      for (std::size_t n; (n = next++) < files.size();) bytes += work(files[n].second);
    });
  workers.clear();
  std::printf(o.json ? "{\"files\":%zu,\"bytes\":%llu,\"seconds\":%.4f,\"cpu_seconds\":%.4f}\n"
                     : "%zu files, %llu bytes: %.4f s, CPU %.4f s\n",
              files.size(), static_cast<unsigned long long>(bytes.load()),
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(), cpu_seconds());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures the limits of an ingestion: decompressing and hashing, or reading headers, and nothing else."};
  app.set_version_flag("--version", "gatehouse-ingest-bench " GATEHOUSE_VERSION);
  app.require_subcommand(1);
  Options o;
  CLI::App* const decode = app.add_subcommand("decode", "Decompress the data archives of Debian packages, and SHA-256");
  CLI::App* const headers = app.add_subcommand("headers", "Read the headers of RPM packages");
  for (CLI::App* const command : {decode, headers}) {
    command->add_option("FILE", o.paths, "packages, or folders with RPM packages")
        ->required()
        ->check(CLI::ExistingPath);
    command->add_option("--jobs", o.jobs, "threads (default: 2)")->check(CLI::Range(1, 256));
    command->add_flag("--json", o.json, "one JSON object on standard output");
  }
  app.footer("Example:\n  gatehouse-ingest-bench decode --jobs 2 *.deb");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;  // contract, exit codes
  }
  if (*decode)
    run(o, [] {
      return [decoder = std::make_unique<Decoder>()](const std::string& path) { return decoder->decode(path); };
    });
  else
    run(o,
        [] { return [buffer = ByteVector()](const std::string& path) mutable { return read_headers(path, buffer); }; });
  return 0;
}
