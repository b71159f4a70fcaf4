#include "text/stream_decoder.h"

#include "text/tokenizer_parts.h"

namespace galago::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer)
    : parts_(tokenizer.parts_), stream_(parts_->decoder) {}

std::string StreamDecoder::append(std::int32_t token) {
  const std::string* shown = parts_->shown_token(token);
  return shown != nullptr ? stream_.append(*shown) : std::string();
}

std::string StreamDecoder::finish() {
  return stream_.finish();
}

}  // namespace galago::text
