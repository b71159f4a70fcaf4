#include "runtime/job.h"

#include <algorithm>
#include <utility>

#include "runtime/load/adapters.h"

namespace galago::runtime {
namespace {

std::vector<std::string> stops_of(const ModelFiles& files, const Request& request) {
  std::vector<std::string> stops = request.sampling.stop;
  if (request.form == PromptForm::chat && !request.sampling.ignore_end) {
    stops.insert(stops.end(), files.stop_strings.begin(), files.stop_strings.end());
  }
  return stops;
}

}  // namespace

Job::Job(const ModelFiles& files, std::shared_ptr<const Request> request, OnText on_text,
         std::int64_t context)
    : prompt(assemble_prompt(files, *request)),
      adapter(adapter_of(files.description.decoder, *request)),
      reuse(request->reuse),
      files_(files),
      context_(context),
      request_(std::move(request)),
      max_new_tokens_(request_->sampling.max_new_tokens),
      ignore_end_(request_->sampling.ignore_end),
      sampler_(request_->sampling, files.description.decoder.vocab_size),
      answer_(files.tokenizer, stops_of(files, *request_), std::move(on_text)) {
  completion_.prompt_tokens = prompt.length();
}

void Job::reserve() {
  const auto most = static_cast<std::size_t>(most_tokens());
  prompt.ids.reserve(most);
  prompt.keys.reserve(most);
}

std::int64_t Job::most_tokens() const {
  const std::int64_t n_prompt = completion_.prompt_tokens;
  return n_prompt + std::clamp<std::int64_t>(max_new_tokens_, 1, context_ - n_prompt);
}

std::optional<FinishReason> Job::append(std::int32_t chosen) {
  const auto& ends = files_.end_tokens;
  if (!ignore_end_ && std::count(ends.begin(), ends.end(), chosen) > 0) return FinishReason::end_of_text;
  completion_.token_ids.push_back(chosen);
  answer_.append(chosen);
  if (answer_.stop_string_found()) return FinishReason::stop_string;
  if (answer_.stopped_by_caller()) return FinishReason::stopped_by_caller;
  if (static_cast<std::int64_t>(completion_.token_ids.size()) >= max_new_tokens_) {
    return FinishReason::max_new_tokens;
  }
  if (sequence->length() >= context_) return FinishReason::context_full;
  return std::nullopt;
}

void Job::take(std::int32_t next) {
  token = next;
  const std::optional<FinishReason> end = append(token);
  ended_ = end.has_value();
  if (end) completion_.finish = *end;
}

Completion Job::finish() {
  answer_.finish();
  completion_.text = answer_.text();
  completion_.timing = timing;
  return std::move(completion_);
}

}  // namespace galago::runtime
