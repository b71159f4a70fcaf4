// Token ids to text while they are generated.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "text/token_decoder.h"
#include "text/tokenizer.h"

namespace galago::text {

/// Gives out whole UTF-8 sequences only. What append() and finish() returned, put together, is what
/// Tokenizer::decode() makes of all the tokens.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer);

  std::string append(std::int32_t token);
  /// The rest that was held back; nothing may follow.
  std::string finish();

 private:
  std::shared_ptr<const TokenizerParts> parts_;
  DecodeStream stream_;
};

}  // namespace galago::text
