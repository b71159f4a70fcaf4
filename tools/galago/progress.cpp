#include "progress.h"

#include <cstdio>
#include <string>

#include <fmt/format.h>

namespace galago::cli {

Progress::Progress(std::size_t n_files, ShowProgress show)
    : n_files_(n_files), shown_(show == ShowProgress::yes && n_files > 1) {
  draw();
}

Progress::~Progress() {
  clear();
}

void Progress::advance() {
  ++n_done_;
  draw();
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

void Progress::draw() const {
  if (!shown_) return;
  constexpr std::size_t width = 30;
  const std::size_t filled = width * n_done_ / n_files_;
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  const double rate = static_cast<double>(n_done_) / spent.count();
  const std::string speed = n_done_ == 0 ? ""
                                         : fmt::format("  {:.1f}/s, {:.0f} s left", rate,
                                                       static_cast<double>(n_files_ - n_done_) / rate);
  fmt::print(stderr, "\r\033[K[{}{}] {}/{}{}", std::string(filled, '='), std::string(width - filled, ' '),
             n_done_, n_files_, speed);
  std::fflush(stderr);
}

}  // namespace galago::cli
