// The growing answer to a request: tokens to whole characters to what no stop string can swallow any more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "galago/engine.h"
#include "runtime/stop_strings.h"
#include "text/stream_decoder.h"

namespace galago::runtime {

class Answer {
 public:
  /// `tokenizer` outlives the answer.
  Answer(const text::Tokenizer& tokenizer, std::vector<std::string> stops, OnText on_text);

  void append(std::int32_t token) { show(stops_.append(decoder_.append(token))); }
  void finish();

  bool stop_string_found() const { return stops_.found(); }
  bool stopped_by_caller() const { return stopped_; }
  const std::string& text() const { return text_; }

 private:
  void show(const std::string& piece);

  text::StreamDecoder decoder_;
  StopStrings stops_;
  OnText on_text_;
  std::string text_;
  bool stopped_ = false;
};

}  // namespace galago::runtime
