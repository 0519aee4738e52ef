// What a long command tells those who wait, on standard error: on a terminal one line that is rewritten, else a plain
// line at most every 5 s.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "base/hex.h"
#include "refdb/ingest/ingest.h"

namespace gatehouse::cli {

class Progress {
 public:
  void operator()(const refdb::IngestProgress& p) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < (terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(5000))) return;
    last_ = now;
    const std::string line = text(p, now);
    std::fprintf(stderr, terminal_ ? "\r\x1b[K%s" : "%s\n", line.c_str());
    shown_ = true;
  }
  void end() const {
    if (terminal_ && shown_) std::fprintf(stderr, "\n");
  }

 private:
  // "312 of 1201 done, 120.3 of 410.0 MB, 5.2 MB/s, 56 s left: bash_5.2.15-2_amd64.deb"
  std::string text(const refdb::IngestProgress& p, std::chrono::steady_clock::time_point now) {
    char figures[160];
    std::string out;
    if (p.of != 0) {
      std::snprintf(figures, sizeof figures, "%zu of %zu done", p.done, p.of);
      out = figures;
    }
    if (p.bytes != 0) {
      constexpr double mega = 1e6;
      const double seconds = std::chrono::duration<double>(now - begun_).count();
      const double rate = seconds > 0 ? double(p.bytes_done) / seconds : 0;
      std::snprintf(figures, sizeof figures, "%s%.1f of %.1f MB, %.1f MB/s", out.empty() ? "" : ", ",
                    double(p.bytes_done) / mega, double(p.bytes) / mega, rate / mega);
      out += figures;
      if (rate > 0) {
        std::snprintf(figures, sizeof figures, ", %.0f s left", double(p.bytes - p.bytes_done) / rate);
        out += figures;
      }
    }
    if (!p.current.empty()) out += ": " + escaped(p.current, 80);
    return out;
  }

  const bool terminal_ = ::isatty(2) == 1;
  bool shown_ = false;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_ = begun_;
};

}  // namespace gatehouse::cli
