// A request's stages, each as the reference has them.
#include <string>
#include <string_view>
#include <utility>

#include "base/fail.h"
#include "runtime/generation.h"

namespace galago::runtime {
namespace {

TraceTensor floats(std::string name, std::vector<std::int64_t> shape, std::vector<float> values) {
  return {std::move(name), std::move(shape), std::move(values), {}};
}

TraceTensor integers(std::string name, const std::vector<std::int32_t>& values) {
  return {std::move(name), {static_cast<std::int64_t>(values.size())}, {}, {values.begin(), values.end()}};
}

void append_rows(const Matrix& from, std::vector<float>& to) {
  for (std::int64_t i = 0; i < from.rows; ++i) to.insert(to.end(), from.row(i), from.row(i) + from.cols);
}

}  // namespace

std::vector<std::int64_t> Generation::embeddings_shape(std::int64_t n_tiles, std::size_t n_values) const {
  const std::int64_t width = files_.description.decoder.hidden_size;
  // Lines of a grid have no tile of their own.
  if (files_.description.projector->newline) return {static_cast<std::int64_t>(n_values) / width, width};
  return {n_tiles, files_.description.tokens_per_tile(), width};
}

Trace Generation::trace(const Request& request) {
  const Configuration& configuration = executor_.configuration();
  if (configuration.logit_rows < configuration.prefill_chunk) {
    fail(ErrorCode::usage, "a trace needs an engine that was loaded with the logits of all prompt tokens");
  }
  Request alone = request;
  alone.reuse = PrefixReuse::none;
  alone.sampling.temperature = 0;
  alone.sampling.repetition_penalty = 1;
  const std::unique_ptr<Job> job = prepare(std::make_shared<const Request>(std::move(alone)), {});

  std::vector<float> pixels;
  std::vector<float> features;
  std::vector<float> embeddings;
  std::vector<float> logits;
  const Observers observers{[&](std::string_view stage, const Matrix& values) {
                              append_rows(values, stage == "pixel_values"     ? pixels
                                                  : stage == "tower_features" ? features
                                                                              : embeddings);
                            },
                            [&](const Matrix& values) { append_rows(values, logits); }};
  const std::vector<std::int32_t> input_ids = job->prompt.ids;  // decoding appends to the prompt
  cache_.clear();
  begin_round();
  if (tower_staged() && !job->prompt.pictures.empty()) see_all(*job, observers.on_stage);
  admit(*job);
  std::vector<std::int32_t> generated;
  try {
    job->token = prefill(*job, observers);
    generated.push_back(job->token);
    const auto max_new_tokens = static_cast<std::size_t>(request.sampling.max_new_tokens);
    Job* const jobs[] = {job.get()};
    while (generated.size() < max_new_tokens && job->sequence->length() < configuration.context) {
      decode(jobs, [](Job& decoded, std::int32_t token) { decoded.token = token; });
      generated.push_back(job->token);
    }
  } catch (...) {
    drop(*job);
    throw;
  }
  drop(*job);

  Trace result{integers("input_ids", input_ids)};
  if (!job->prompt.pictures.empty()) {
    const model::TowerShape& tower = *files_.description.tower;
    const std::int64_t n_tiles = static_cast<std::int64_t>(pixels.size()) / tower.pixel_values();
    result.push_back(
        floats("pixel_values", {n_tiles, 3, tower.image_size, tower.image_size}, std::move(pixels)));
    result.push_back(
        floats("tower_features", {n_tiles, tower.features(), tower.hidden_size}, std::move(features)));
    const std::vector<std::int64_t> shape = embeddings_shape(n_tiles, embeddings.size());
    result.push_back(floats("image_embeddings", shape, std::move(embeddings)));
  }
  result.push_back(
      floats("logits", {static_cast<std::int64_t>(input_ids.size()), files_.description.decoder.vocab_size},
             std::move(logits)));
  result.push_back(integers("generated_ids", generated));
  return result;
}

}  // namespace galago::runtime
