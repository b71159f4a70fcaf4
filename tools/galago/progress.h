// A bar on stderr for work on many files: how many are done, how fast, how long it will take.
#pragma once

#include <chrono>
#include <cstddef>

namespace galago::cli {

enum class ShowProgress { no, yes };

class Progress {
 public:
  Progress(std::size_t n_files, ShowProgress show);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance();
  /// Takes the bar off the line, so that a message can stand there.
  void clear();

 private:
  void draw() const;

  std::size_t n_files_;
  std::size_t n_done_ = 0;
  bool shown_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace galago::cli
