#include "runtime/executor.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/weight_loader.h"

namespace galago::runtime {

using backend::Phase;
using memory::RegionId;

Executor::Executor(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
                   const Configuration& configuration, backend::Backend& backend, memory::Arena arena)
    : configuration_(configuration), backend_(backend), arena_(std::move(arena)), queue_(arena_.mode()) {
  WeightLoader loader(checkpoint, configuration_, arena_);
  network_ = load_network(description, loader);

  const model::DecoderShape& decoder = description.decoder;
  pages_ = model::layout_pages(decoder, configuration_.kv_dtype, configuration_.page_tokens);
  pages_.base =
      arena_.region(RegionId::kv).take(static_cast<Bytes>(configuration_.n_pages()) * pages_.page_bytes);
  logits_ = arena_.matrix(RegionId::activations, configuration_.logit_rows, decoder.vocab_size);
  if (!configuration_.with_pictures) return;
  const model::TowerShape& tower = *description.tower;
  image_embeddings_ = arena_.matrix(
      RegionId::activations, configuration_.n_tiles * description.tokens_per_tile(), decoder.hidden_size);
  n_pixel_values_ = configuration_.n_tiles * 3 * tower.image_size * tower.image_size;
  pixels_ = arena_.array<float>(RegionId::staging, n_pixel_values_);
}

void Executor::encode(const StageObserver& observer) {
  queue_.enter(Phase::encode);
  backend::Execution exec{arena_, queue_};
  encode_picture(network_, backend_, exec, pixels_, image_embeddings_, observer);
}

Matrix Executor::step(Phase phase, std::span<const std::int32_t> ids, const backend::SequenceRows& rows,
                      std::int64_t n_logits) {
  queue_.enter(phase);
  backend::Execution exec{arena_, queue_};
  const Matrix logits = logits_.slice_rows(0, n_logits);
  const model::DecoderStep step{.ids = ids,
                                .image_embeddings = image_embeddings_,
                                .sequences = {&rows, 1},
                                .adapter = adapter_,
                                .first_logit_row = static_cast<std::int64_t>(ids.size()) - n_logits};
  model::run_decoder(network_.decoder, backend_, exec, pages_, step, logits);
  return logits;
}

void Executor::rehearse() {
  if (configuration_.with_pictures) encode();
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(configuration_.prefill_chunk));
  for (std::int64_t done = 0; done < configuration_.prompt_tokens; done += configuration_.prefill_chunk) {
    const std::int64_t n = std::min(configuration_.prefill_chunk, configuration_.prompt_tokens - done);
    const bool last = done + n == configuration_.prompt_tokens;
    const std::int64_t n_logits = configuration_.logit_rows > 1 ? n : (last ? 1 : 0);
    step(Phase::prefill, std::span(ids).first(static_cast<std::size_t>(n)),
         {0, n, done, {}, configuration_.prompt_tokens}, n_logits);
  }
  step(Phase::decode, std::span(ids).first(1), {0, 1, configuration_.context - 1, {}}, 1);
}

}  // namespace galago::runtime
