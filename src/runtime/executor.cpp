#include "runtime/executor.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace galago::runtime {

using backend::Phase;
using memory::RegionId;

namespace {

/// The adapter that takes the most work: requests may name any.
std::optional<std::size_t> costliest(const std::vector<model::AdapterShape>& adapters) {
  const auto ranks = [](const model::AdapterShape& adapter) {
    std::int64_t sum = 0;
    for (const auto& [matrix, branch] : adapter.branches) sum += branch.rank;
    return sum;
  };
  const auto most = std::max_element(adapters.begin(), adapters.end(),
                                     [&](const auto& a, const auto& b) { return ranks(a) < ranks(b); });
  if (most == adapters.end()) return std::nullopt;
  return static_cast<std::size_t>(most - adapters.begin());
}

}  // namespace

Executor::Executor(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
                   const Configuration& configuration, const backend::Backends& backends,
                   std::vector<memory::Arena> arenas)
    : checkpoint_(checkpoint),
      configuration_(configuration),
      packed_(checkpoint, description, configuration_, arenas.front()) {
  for (std::size_t i = 0; i < arenas.size(); ++i) {
    stages_.push_back(std::make_unique<Stage>(
        checkpoint, description, configuration_,
        Stage::Place{backends[i], std::move(arenas[i]), configuration_.layers_of(i), packed_.contents()}));
  }
  if (description.tower && !configuration_.tower_staged) load_tower(packed_.contents());
  packed_.keep();
  if (configuration_.with_pictures) take_embeddings(description);
  if (first().arena().mode() == memory::Mode::plan) return;
  for (std::size_t i = 1; i < stages_.size(); ++i) stages_[i]->start(behind(i));
}

Executor::~Executor() {
  for (const auto& stage : stages_) stage->stop();
}

void Executor::take_embeddings(const model::Description& description) {
  picture_rows_ = configuration_.picture.n_tiles * description.tokens_per_tile() +
                  (description.projector->newline ? 1 : 0);
  image_embeddings_ = first().arena().matrix(RegionId::pictures, configuration_.kept_pictures * picture_rows_,
                                             description.decoder.hidden_size);
}

void Executor::load_tower(WeightLoader::Contents contents) {
  memory::Arena& arena = first().arena();
  WeightLoader loader(checkpoint_, configuration_,
                      {arena.region(RegionId::tower), arena.region(RegionId::staging),
                       configuration_.host_threads, contents});
  load_sight(first().network(), loader);
}

void Executor::bring_tower() {
  load_tower(packed_.bring_tower(first().arena().region(RegionId::tower)));
  packed_.keep();
}

void Executor::enter(Phase phase) {
  if (first().phase() == phase) return;
  run({phase});
  if (phase != Phase::encode) return;
  if (configuration_.tower_staged) bring_tower();
  pixels_ = first().arena().array<float>(
      RegionId::staging, configuration_.tile_batch * first().network().tower->shape.pixel_values());
}

void Executor::encode(std::int64_t n_tiles, const FillTiles& fill, const StageObserver& observer,
                      std::int64_t slot) {
  enter(Phase::encode);
  Stage& stage = first();
  const Network& network = stage.network();
  backend::Execution exec{stage.arena(), stage.queue()};
  const Matrix embeddings = image_embeddings_.slice_rows(first_row(slot), picture_rows_);
  const std::int64_t per_tile = network.description.tokens_per_tile();
  for (std::int64_t first = 0; first < n_tiles; first += configuration_.tile_batch) {
    const std::int64_t count = std::min(configuration_.tile_batch, n_tiles - first);
    const std::int64_t n_values = network.tower->shape.pixel_values();
    if (pixels_ != nullptr && fill) fill(first, {pixels_, static_cast<std::size_t>(count * n_values)});
    if (observer) observer("pixel_values", {pixels_, count, n_values, n_values});
    StageObserver on_device;
    if (observer) {
      on_device = [&](std::string_view name, const Matrix& values) { stage.show(name, values, observer); };
    }
    encode_tiles(network, stage.backend(), exec, pixels_,
                 embeddings.slice_rows(first * per_tile, count * per_tile), on_device);
  }
  if (!network.projector->newline.present()) return;
  encode_newline(network, stage.backend(), exec, embeddings.slice_rows(n_tiles * per_tile, 1));
}

void Executor::show_embeddings(std::int64_t slot, std::span<const std::int32_t> rows,
                               const StageObserver& observer) const {
  for (const std::int32_t row : rows) {
    first().show("image_embeddings", image_embeddings_.slice_rows(first_row(slot) + row, 1), observer);
  }
}

void Executor::run(const StageTask& task) {
  throw_failure();
  first().run(task, behind(0));
  if (first().arena().mode() == memory::Mode::run) return;
  for (std::size_t i = 1; i < stages_.size(); ++i) stages_[i]->run_next(behind(i));
  throw_failure();
}

void Executor::wait() {
  for (std::size_t i = 1; i < stages_.size(); ++i) stages_[i]->inbox().wait_until_idle();
}

void Executor::throw_failure() {
  const auto has_failed = [](const auto& stage) { return stage->inbox().has_failed(); };
  if (std::none_of(stages_.begin() + 1, stages_.end(), has_failed)) return;
  wait();
  std::exception_ptr failure;
  for (std::size_t i = 1; i < stages_.size(); ++i) {
    const std::exception_ptr of_stage = stages_[i]->inbox().take_failure();
    if (!failure) failure = of_stage;
  }
  std::rethrow_exception(failure);
}

void Executor::copy_page(backend::PageId from, backend::PageId to) {
  wait();
  for (const auto& stage : stages_) stage->copy_page(from, to);
}

void Executor::step(Phase phase, std::span<const std::int32_t> ids,
                    std::span<const backend::SequenceRows> sequences, std::int64_t n_logits) {
  enter(phase);
  run({phase,
       {.rows = {ids, sequences},
        .image_embeddings = image_embeddings_,
        .adapter = adapter_,
        .mlp_rows = configuration_.mlp_rows},
       n_logits});
  if (n_logits == 0) return;
  wait();
  throw_failure();
}

backend::Ledger Executor::ledger() const {
  backend::Ledger sum;
  for (const auto& stage : stages_) sum += stage->queue().ledger();
  return sum;
}

void Executor::time_ops() {
  for (const auto& stage : stages_) stage->time_ops();
}

backend::OpTimes Executor::op_times() const {
  backend::OpTimes sum{};
  for (const auto& stage : stages_) {
    const backend::OpTimes& times = stage->queue().op_times();
    for (std::size_t phase = 0; phase < backend::n_phases; ++phase) {
      for (std::size_t op = 0; op < backend::n_ops; ++op) sum[phase][op] += times[phase][op];
    }
  }
  return sum;
}

void Executor::rehearse() {
  adapter_ = costliest(first().network().description.decoder.adapters);
  if (configuration_.with_pictures) encode(configuration_.picture.n_tiles, {});
  std::vector<std::int32_t> ids(static_cast<std::size_t>(configuration_.most_rows()));
  for (std::int64_t done = 0; done < configuration_.prompt_tokens; done += configuration_.prefill_chunk) {
    const std::int64_t n = std::min(configuration_.prefill_chunk, configuration_.prompt_tokens - done);
    const bool last = done + n == configuration_.prompt_tokens;
    // Pictures first; which of them a row is makes no difference.
    for (std::int64_t i = 0; i < n; ++i) {
      ids[static_cast<std::size_t>(i)] = done + i < configuration_.picture_rows ? -1 : 0;
    }
    const std::int64_t n_logits = configuration_.logit_rows > 1 ? n : (last ? 1 : 0);
    step(Phase::prefill, std::span(ids).first(static_cast<std::size_t>(n)),
         {0, n, done, {}, configuration_.prompt_tokens}, n_logits);
  }
  const std::vector<backend::TokenChoice> choices(static_cast<std::size_t>(configuration_.batch));
  choose(std::span(choices).first(1));
  std::fill(ids.begin(), ids.end(), 0);
  std::vector<backend::SequenceRows> rows;
  for (std::int64_t i = 0; i < configuration_.batch; ++i)
    rows.push_back({i, 1, configuration_.context - 1, {}});
  step(Phase::decode, std::span(ids).first(rows.size()), rows, configuration_.batch);
  choose(choices);
}

}  // namespace galago::runtime
