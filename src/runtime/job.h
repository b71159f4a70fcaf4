// A request on its way to its answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "galago/engine.h"
#include "runtime/answer.h"
#include "runtime/load/model_files.h"
#include "runtime/prompt.h"
#include "runtime/sampler.h"
#include "runtime/sequence.h"

namespace galago::runtime {

/// Adds the time from its construction to its destruction.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_;
};

class Job {
 public:
  /// Renders and tokenizes the request. `files` outlives the job; prompt and answer are at most `context`
  /// tokens. Throws as assemble_prompt() and Sampler do, and Error{usage} for an adapter that is not loaded.
  Job(const ModelFiles& files, std::shared_ptr<const Request> request, OnText on_text, std::int64_t context);

  /// Makes room for all tokens of the answer, so that decoding allocates nothing. The prompt leaves room for
  /// one at least.
  void reserve();
  /// Of prompt and answer.
  std::int64_t most_tokens() const;
  /// How the next token is chosen; asked once a token.
  backend::TokenChoice choice() { return sampler_.next(prompt.ids); }
  /// Takes the next token, which may end the answer.
  void take(std::int32_t next);
  bool ended() const { return ended_; }
  /// So many of the prompt's positions were cached.
  void took_over(std::int64_t n_tokens) { completion_.cached_tokens = n_tokens; }
  /// Lets go of the pictures: they are encoded.
  void forget_pictures() { request_.reset(); }
  /// Once the answer has ended.
  Completion finish();

  Prompt prompt;  ///< and the tokens of the answer, as they come
  std::optional<std::size_t> adapter;
  PrefixReuse reuse;
  std::vector<std::int64_t> slots;  ///< where the embeddings of the prompt's pictures are, once they are seen
  Sequence* sequence = nullptr;     ///< once it is admitted
  std::int32_t token = 0;           ///< the last one chosen
  Timing timing;

 private:
  /// Why the answer ends with the token; none: it goes on.
  std::optional<FinishReason> append(std::int32_t token);

  const ModelFiles& files_;
  std::int64_t context_;
  std::shared_ptr<const Request> request_;  // the prompt points to its pictures
  std::int64_t max_new_tokens_;
  bool ignore_end_;
  Sampler sampler_;
  Answer answer_;
  Completion completion_;
  bool ended_ = false;
};

}  // namespace galago::runtime
