// The CPU backend's class. Ops of one subject are defined in the file of the same name as their kernels
// (linear.cpp, norm.cpp, ...).
#pragma once

#include <algorithm>

#include "backend/backend.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/kernel_formats.h"
#include "backend/op_costs.h"
#include "base/thread_pool.h"
#include "kernels/cpu/kernels.h"

namespace galago::backend {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int n_threads, Products products);

  std::string name() const override;
  std::string description() const override;

  void linear(Execution& exec, const Matrix& x, const Weight& w, const Epilogue& epilogue,
              const Matrix& y) override;
  void gated_linear(Execution& exec, const Matrix& x, const Weight& gate_up, Activation activation,
                    const Matrix& y) override;
  void gate(Execution& exec, const Matrix& x, Activation activation, const Matrix& y) override;
  void add_low_rank(Execution& exec, const Matrix& x, const LowRank& factors, const Matrix& scratch,
                    const Matrix& y) override;
  void layer_norm(Execution& exec, const Matrix& x, const Weight& weight, const Weight& bias, float epsilon,
                  const Matrix& y) override;
  void rms_norm(Execution& exec, const Matrix& x, const Weight& weight, float epsilon,
                const Matrix& y) override;
  void unfold_patches(Execution& exec, const float* pixels, const PatchGrid& grid, const Matrix& y) override;
  void tower_embed(Execution& exec, const Matrix& patches, const Weight& class_embedding,
                   const Weight& positions, const Matrix& y) override;
  void pixel_shuffle(Execution& exec, const Matrix& patches, std::int64_t factor, const Matrix& y) override;
  void add_scaled(Execution& exec, const Matrix& x, const Weight& scale, const Matrix& y) override;
  // Ops read rows where they are, and there is nothing to record.
  StepRows bring_rows(Execution& /*exec*/, const StepRows& rows, const LayerPages& /*pages*/) override {
    return rows;
  }
  void repeat(Execution& /*exec*/, const StepKey& /*key*/, const std::function<void()>& work) override {
    work();
  }
  void token_embed(Execution& exec, const StepRows& rows, const Weight& table, const Matrix& image_embeddings,
                   const Matrix& y) override;
  void rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                        std::span<float> frequencies) override;
  void rope_table(Execution& exec, const StepRows& rows, const Weight& inverse_frequencies, float scale,
                  const Matrix& table) override;
  void rope(Execution& exec, const Matrix& x, std::int64_t head_size, const Matrix& table) override;
  void append_kv(Execution& exec, const Matrix& k, const Matrix& v, const StepRows& rows, const Heads& heads,
                 const LayerPages& pages) override;
  void attend_tile(Execution& exec, const Matrix& q, const Matrix& k, const Matrix& v,
                   std::int64_t tokens_per_tile, const Heads& heads, const Matrix& out) override;
  void attend_pages(Execution& exec, const Matrix& q, const StepRows& rows, const LayerPages& pages,
                    const Heads& heads, const Matrix& out) override;
  void choose(Execution& exec, const Matrix& logits, std::span<const TokenChoice> choices,
              std::span<std::int32_t> tokens) override;

 private:
  void submit_linear(Execution& exec, Op kind, const Cost& cost, kernels::Linear op, const Weight& w);
  void multiply_columns(const kernels::Linear& op, float* scratch);
  /// In how many terms the product's activations are rounded to int8; 0: not. More than one where a product
  /// narrows: its input is mostly an MLP's middle, in which few large numbers take the precision from their
  /// neighbours.
  std::int32_t int8_terms(const kernels::Linear& op) const;
  void round_to_int8(const kernels::Linear& op);
  bool rounds_to_bf16(const kernels::Linear& op) const;
  void round_to_bf16(const kernels::Linear& op);
  /// Scratch for x in int8.
  kernels::Int8Rows take_int8_rows(Execution& exec, const kernels::Linear& op) const;
  /// Attention of many rows, as products of many rows, rounds its operands where the machine multiplies BF16;
  /// not those that pages hold in FP32.
  bool attends_in_bf16() const;
  bool attends_in_bf16(const LayerPages& pages) const;
  void embed_row(const Weight& table, std::int64_t row, float* to) const;
  /// Columns of one piece of work: several pieces a thread, so that a slow one does not hold up all.
  std::int64_t column_grain(const kernels::Linear& op) const;
  void store_token(const Matrix& k, const Matrix& v, const SequenceRows& rows, std::int64_t i,
                   const Heads& heads, const LayerPages& pages) const;
  void store_row(const float* from, std::int64_t n, const WeightFormat& format, std::byte* to) const;
  /// A sequence's rows for all query heads of one key-value head.
  void attend_rows(const Matrix& q, const SequenceRows& rows, const LayerPages& pages, const Heads& heads,
                   std::int64_t kv_head, const Matrix& out, float* scratch) const;

  /// Calls body(first, count) for blocks of rows.
  template <class Body>
  void for_rows(std::int64_t n_rows, Body&& body) {
    constexpr std::int64_t block = 16;
    pool_.parallel_for((n_rows + block - 1) / block, [&](std::int64_t item, int) {
      const std::int64_t first = item * block;
      body(first, std::min(block, n_rows - first));
    });
  }

  const kernels::KernelTable& kernels_;
  const Products products_;
  ThreadPool pool_;
};

}  // namespace galago::backend
