#include "runtime/answer.h"

#include <utility>

namespace galago::runtime {

Answer::Answer(const text::Tokenizer& tokenizer, std::vector<std::string> stops, OnText on_text)
    : decoder_(tokenizer), stops_(std::move(stops)), on_text_(std::move(on_text)) {}

void Answer::finish() {
  if (!stops_.found()) show(stops_.append(decoder_.finish()));
  if (!stops_.found()) show(stops_.finish());
}

void Answer::show(const std::string& piece) {
  if (piece.empty()) return;
  text_ += piece;
  if (on_text_ && !stopped_ && !on_text_(piece)) stopped_ = true;
}

}  // namespace galago::runtime
