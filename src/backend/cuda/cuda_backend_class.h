// The CUDA backend's class. Ops of one subject are defined in the file of the same name as on the CPU's side
// (linear.cpp, attention.cpp, ...).
#pragma once

#include <string_view>

#include "backend/backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/device.h"
#include "backend/cuda/step_graphs.h"
#include "backend/kernel_formats.h"
#include "backend/op_costs.h"
#include "kernels/cuda/kernels.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

namespace kernels_of_device = galago::kernels::GALAGO_DEVICE_SPACE;

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, CudaProducts products)
      : device_(device),
        graphs_(device_),
        tensor_cores_(products == CudaProducts::tensor_cores && device_.has_tensor_cores()) {
    device_.count_driver_bytes();
  }

  std::string name() const override;
  std::string description() const override;
  memory::DeviceMemory* device_memory() override { return &device_; }
  void finish() override { device_.finish(); }

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
  StepRows bring_rows(Execution& exec, const StepRows& rows, const LayerPages& pages) override;
  void repeat(Execution& exec, const StepKey& key, const std::function<void()>& work) override;
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
  /// What a product of many rows works with. Only a gated one's size depends on how many there are: low-rank
  /// branches are planned before anyone knows.
  struct ProductScratch {
    std::byte* workspace = nullptr;  // cuBLAS's
    std::byte* narrowed = nullptr;   // [product_rows, k] of x in the weights' 16-bit type
    std::byte* panel = nullptr;      // dequantised rows of the weights
    std::int64_t panel_rows = 0;
    float* both = nullptr;  // [gated rows, 2 n]: gate beside up
  };

  ProductScratch product_scratch(Execution& exec, const Weight& w, std::int64_t gated_rows);
  /// At most product_rows rows: y = x w^T, or y += x w^T.
  void multiply(const Matrix& x, const Weight& w, const ProductScratch& scratch, bool add, const Matrix& y);
  /// On tensor cores in one pass over the weights; false where there are too many rows, or the device or the
  /// weights' format are not for it.
  bool multiply_some(const kernels::Linear& op, const ProductScratch& scratch, std::string_view what);
  void multiply_few(const Matrix& x, const Weight& w, const Epilogue& epilogue, const Matrix& y);
  /// Shares of a row's positions, at most.
  std::int64_t most_shares(const LayerPages& pages, const Heads& heads) const;
  /// Rows of sequences that have one each.
  void attend_singles(Execution& exec, const Matrix& q, const StepRows& rows, const LayerPages& pages,
                      const Heads& heads, const Matrix& out);
  /// Rows of one sequence; its page table is `table` on the device.
  void attend_sequence(Execution& exec, const Matrix& q, const StepRows& rows, const std::int32_t* table,
                       const LayerPages& pages, const Heads& heads, const Matrix& out);

  Device device_;
  StepGraphs graphs_;
  bool tensor_cores_;
};

inline kernels_of_device::Rows rows_of(const Matrix& matrix) {
  return {matrix.data, matrix.rows, matrix.cols, matrix.stride};
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
