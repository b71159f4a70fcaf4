// The decoder of a tokenizer: the steps from token strings back to text, one token at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace galago::text {

/// Steps as tokenizer.json names them. Each takes a token's text and hands on what it makes of it.
struct ReplaceStep {
  std::string pattern;
  std::string content;
};
/// "<0x41>" is a byte. A run of such tokens that is not UTF-8 becomes one U+FFFD a byte.
struct ByteFallbackStep {};
/// All that follows is one text.
struct FuseStep {};
/// Takes up to `start` copies of `content` off the beginning, of the text where a Fuse step came before, else
/// of every token.
struct StripStep {
  std::string content;
  std::size_t start = 0;
};
/// Characters that stand for bytes (GPT-2's table) back to bytes.
struct ByteLevelStep {};
/// The mark back to a space; those of the first token go where a prefix was added.
struct MetaspaceStep {
  std::string replacement;
  bool strip_first = false;
};
using DecodeStep =
    std::variant<ReplaceStep, ByteFallbackStep, FuseStep, StripStep, ByteLevelStep, MetaspaceStep>;

/// One text in the making. The steps must outlive it.
class DecodeStream {
 public:
  explicit DecodeStream(const std::vector<DecodeStep>& steps) : steps_(&steps), states_(steps.size()) {}

  std::string append(std::string_view token);
  std::string finish();

 private:
  struct State {
    std::string held;       // bytes that cannot be decided yet
    std::size_t taken = 0;  // by a StripStep
    bool begun = false;     // the first token, or the beginning that is stripped, is behind
  };

  void run(std::size_t step, std::string token, std::string& text);
  bool run_byte_fallback(std::size_t step, const std::string& token, std::string& text);
  void release_bytes(std::size_t step, std::string& text);
  void strip(std::size_t step, const StripStep& strip, std::string& token);
  void byte_level(State& state, std::string& token);
  void metaspace(State& state, const MetaspaceStep& step, std::string& token);

  const std::vector<DecodeStep>* steps_;
  std::vector<State> states_;
};

}  // namespace galago::text
