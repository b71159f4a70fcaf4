// A backend whose steps can be watched, and held up, from a test.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "backend/backend.h"

namespace galago::test {

/// Does what another backend does. `on_layers` is called where a step's layers begin, in run mode, in the
/// thread that hands in the work.
class WatchedBackend final : public backend::Backend {
 public:
  using Execution = backend::Execution;
  using Rows = backend::StepRows;

  WatchedBackend(std::unique_ptr<Backend> watched, std::function<void()> on_layers)
      : to_(std::move(watched)), on_layers_(std::move(on_layers)) {}

  std::string name() const override { return to_->name(); }
  std::string description() const override { return to_->description(); }
  memory::DeviceMemory* device_memory() override { return to_->device_memory(); }
  void finish() override { to_->finish(); }

  void rope_table(Execution& exec, const Rows& rows, const Weight& inverse_frequencies, float scale,
                  const Matrix& table) override {
    if (exec.arena.mode() == memory::Mode::run) on_layers_();
    to_->rope_table(exec, rows, inverse_frequencies, scale, table);
  }

  void linear(Execution& exec, const Matrix& x, const Weight& w, const backend::Epilogue& epilogue,
              const Matrix& y) override {
    to_->linear(exec, x, w, epilogue, y);
  }
  void gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, backend::Activation activation,
                    const Matrix& y) override {
    to_->gated_linear(exec, x, gate_up, activation, y);
  }
  void gate(Execution& exec, const Matrix& x, backend::Activation activation, const Matrix& y) override {
    to_->gate(exec, x, activation, y);
  }
  void add_low_rank(Execution& exec, const Matrix& x, const backend::LowRank& factors, const Matrix& scratch,
                    const Matrix& y) override {
    to_->add_low_rank(exec, x, factors, scratch, y);
  }
  void layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias, float epsilon,
                  const Matrix& y) override {
    to_->layer_norm(exec, x, weight, bias, epsilon, y);
  }
  void rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                const Matrix& y) override {
    to_->rms_norm(exec, x, weight, epsilon, y);
  }
  void unfold_patches(Execution& exec, const float* pixels, const backend::PatchGrid& grid,
                      const Matrix& y) override {
    to_->unfold_patches(exec, pixels, grid, y);
  }
  void tower_embed(Execution& exec, const Matrix& patches, const Weight& class_embedding,
                   const Weight& positions, const Matrix& y) override {
    to_->tower_embed(exec, patches, class_embedding, positions, y);
  }
  void pixel_shuffle(Execution& exec, const Matrix& patches, std::int64_t factor, const Matrix& y) override {
    to_->pixel_shuffle(exec, patches, factor, y);
  }
  void add_scaled(Execution& exec, const Matrix& x, const Weight& scale, const Matrix& y) override {
    to_->add_scaled(exec, x, scale, y);
  }
  Rows bring_rows(Execution& exec, const Rows& rows, const backend::LayerPages& pages) override {
    return to_->bring_rows(exec, rows, pages);
  }
  void repeat(Execution& exec, const backend::StepKey& key, const std::function<void()>& work) override {
    to_->repeat(exec, key, work);
  }
  void token_embed(Execution& exec, const Rows& rows, const Weight& table, const Matrix& image_embeddings,
                   const Matrix& y) override {
    to_->token_embed(exec, rows, table, image_embeddings, y);
  }
  void rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                        std::span<float> frequencies) override {
    to_->rope_frequencies(exec, base, dimensions, frequencies);
  }
  void rope(Execution& exec, const Matrix& x, std::int64_t head_size, const Matrix& table) override {
    to_->rope(exec, x, head_size, table);
  }
  void append_kv(Execution& exec, const Matrix& k, const Matrix& v, const Rows& rows,
                 const backend::Heads& heads, const backend::LayerPages& pages) override {
    to_->append_kv(exec, k, v, rows, heads, pages);
  }
  void attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                   std::int64_t tokens_per_tile, const backend::Heads& heads, const Matrix& out) override {
    to_->attend_tile(exec, q, k, v, tokens_per_tile, heads, out);
  }
  void attend_pages(Execution& exec, const Matrix& q, const Rows& rows, const backend::LayerPages& pages,
                    const backend::Heads& heads, const Matrix& out) override {
    to_->attend_pages(exec, q, rows, pages, heads, out);
  }
  void choose(Execution& exec, const Matrix& logits, std::span<const backend::TokenChoice> choices,
              std::span<std::int32_t> tokens) override {
    to_->choose(exec, logits, choices, tokens);
  }

 private:
  std::unique_ptr<Backend> to_;
  std::function<void()> on_layers_;
};

}  // namespace galago::test
