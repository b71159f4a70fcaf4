#include "runtime/executor.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "runtime/weight_loader.h"

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
                   const Configuration& configuration, backend::Backend& backend, memory::Arena arena)
    : checkpoint_(checkpoint),
      configuration_(configuration),
      backend_(backend),
      arena_(std::move(arena)),
      queue_(arena_.mode()) {
  network_.description = description;
  if (description.tower && !configuration_.tower_staged) load_tower();
  load_decoder();
  pages_ = model::layout_pages(description.decoder, configuration_.kv_format, configuration_.page_tokens);
  pages_.n_pages = configuration_.n_pages();
  if (!configuration_.tower_staged) take_pages();
  if (!configuration_.with_pictures) return;
  picture_rows_ = configuration_.picture.n_tiles * description.tokens_per_tile() +
                  (description.projector->newline ? 1 : 0);
  image_embeddings_ = arena_.matrix(RegionId::pictures, configuration_.kept_pictures * picture_rows_,
                                    description.decoder.hidden_size);
}

void Executor::load_tower() {
  WeightLoader loader(checkpoint_, configuration_,
                      {arena_.region(RegionId::tower), arena_.region(RegionId::staging)});
  load_sight(network_, loader);
}

void Executor::load_decoder() {
  const model::DecoderShape& shape = network_.description.decoder;
  WeightLoader loader(checkpoint_, configuration_, arena_);
  network_.decoder = model::load_decoder(shape, loader, shape.n_layers - configuration_.streamed_layers);
  if (configuration_.streamed_layers == 0) return;
  if (arena_.device() != nullptr) {
    fail(ErrorCode::usage,
         "layers are streamed on the CPU only; leave --stream-layers out or choose --device cpu");
  }
  stream_.emplace(checkpoint_, configuration_, shape, arena_.region(RegionId::weights),
                  network_.decoder.layers);
}

void Executor::take_pages() {
  pages_.base =
      arena_.region(RegionId::kv).take(static_cast<Bytes>(configuration_.n_pages()) * pages_.page_bytes);
}

void Executor::enter(Phase phase) {
  queue_.enter(phase);
  if (!arena_.enter(phase)) return;
  if (phase == Phase::encode) {
    if (configuration_.tower_staged) load_tower();
    pixels_ = arena_.array<float>(RegionId::staging,
                                  configuration_.tile_batch * network_.tower->shape.pixel_values());
  } else {
    if (configuration_.tower_staged) take_pages();
    const std::int64_t vocab_size = network_.description.decoder.vocab_size;
    logits_ = arena_.matrix(RegionId::activations, configuration_.most_logit_rows(), vocab_size);
    if (arena_.device() != nullptr) {
      host_logits_ = arena_.matrix(RegionId::staging, configuration_.most_logit_rows(), vocab_size);
      page_ = arena_.region(RegionId::staging).take(pages_.page_bytes);
    }
  }
}

void Executor::encode(std::int64_t n_tiles, const FillTiles& fill, const StageObserver& observer,
                      std::int64_t slot) {
  enter(Phase::encode);
  backend::Execution exec{arena_, queue_};
  const Matrix embeddings = image_embeddings_.slice_rows(first_row(slot), picture_rows_);
  const std::int64_t per_tile = network_.description.tokens_per_tile();
  for (std::int64_t first = 0; first < n_tiles; first += configuration_.tile_batch) {
    const std::int64_t count = std::min(configuration_.tile_batch, n_tiles - first);
    const std::int64_t n_values = network_.tower->shape.pixel_values();
    if (pixels_ != nullptr && fill) fill(first, count, {pixels_, static_cast<std::size_t>(count * n_values)});
    if (observer) observer("pixel_values", {pixels_, count, n_values, n_values});
    StageObserver on_device;
    if (observer) {
      on_device = [&](std::string_view stage, const Matrix& values) { show(stage, values, observer); };
    }
    encode_tiles(network_, backend_, exec, pixels_, embeddings.slice_rows(first * per_tile, count * per_tile),
                 on_device);
  }
  if (!network_.projector->newline.present()) return;
  encode_newline(network_, backend_, exec, embeddings.slice_rows(n_tiles * per_tile, 1));
}

void Executor::show(std::string_view stage, const Matrix& values, const StageObserver& observer) const {
  if (arena_.device() == nullptr || arena_.mode() == memory::Mode::plan) return observer(stage, values);
  std::vector<float> copy(static_cast<std::size_t>(values.rows * values.cols));
  for (std::int64_t row = 0; row < values.rows; ++row) {
    const std::span<float> to(copy.data() + row * values.cols, static_cast<std::size_t>(values.cols));
    arena_.device()->download(std::as_writable_bytes(to),
                              reinterpret_cast<const std::byte*>(values.row(row)));
  }
  observer(stage, {copy.data(), values.rows, values.cols, values.cols});
}

void Executor::show_embeddings(std::int64_t slot, std::span<const std::int32_t> rows,
                               const StageObserver& observer) const {
  for (const std::int32_t row : rows) {
    show("image_embeddings", image_embeddings_.slice_rows(first_row(slot) + row, 1), observer);
  }
}

Matrix Executor::readable(const Matrix& logits) const {
  if (arena_.device() == nullptr) return logits;
  const Matrix copy = host_logits_.slice_rows(0, logits.rows);
  if (arena_.mode() == memory::Mode::plan || logits.rows == 0) return copy;
  const std::span<float> to(copy.data, static_cast<std::size_t>(copy.rows * copy.cols));
  arena_.device()->download(std::as_writable_bytes(to), reinterpret_cast<const std::byte*>(logits.data));
  return copy;
}

void Executor::copy_page(backend::PageId from, backend::PageId to) {
  const auto place = [&](backend::PageId page) {
    return pages_.base + static_cast<Bytes>(page) * pages_.page_bytes;
  };
  if (arena_.device() == nullptr) {
    std::memcpy(place(to), place(from), pages_.page_bytes);
    return;
  }
  const std::span<std::byte> on_host(page_, pages_.page_bytes);
  arena_.device()->download(on_host, place(from));
  arena_.device()->upload(place(to), on_host);
}

Matrix Executor::step(Phase phase, std::span<const std::int32_t> ids,
                      std::span<const backend::SequenceRows> sequences, std::int64_t n_logits) {
  enter(phase);
  backend::Execution exec{arena_, queue_};
  const Matrix logits = logits_.slice_rows(0, n_logits);
  const model::DecoderStep step{.ids = ids,
                                .image_embeddings = image_embeddings_,
                                .sequences = sequences,
                                .adapter = adapter_,
                                .feed = stream_ ? &*stream_ : nullptr,
                                .first_logit_row = static_cast<std::int64_t>(ids.size()) - n_logits};
  model::run_decoder(network_.decoder, backend_, exec, pages_, step, logits);
  return readable(logits);
}

void Executor::rehearse() {
  adapter_ = costliest(network_.description.decoder.adapters);
  if (configuration_.with_pictures) encode(configuration_.picture.n_tiles, {});
  std::vector<std::int32_t> ids(
      static_cast<std::size_t>(std::max(configuration_.prefill_chunk, configuration_.batch)));
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
  std::fill(ids.begin(), ids.end(), 0);
  std::vector<backend::SequenceRows> rows;
  for (std::int64_t i = 0; i < configuration_.batch; ++i)
    rows.push_back({i, 1, configuration_.context - 1, {}});
  step(Phase::decode, std::span(ids).first(rows.size()), rows, configuration_.batch);
}

}  // namespace galago::runtime
