// The kernels of one instruction set, listed.
#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

void linear(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch);
void quantise(const float* x, std::int64_t x_stride, std::int64_t k, const Int8Rows& to,
              std::int64_t first_row, std::int64_t n_rows);
void layer_norm(const Norm& op, std::int64_t first_row, std::int64_t n_rows);
void rms_norm(const Norm& op, std::int64_t first_row, std::int64_t n_rows);
void attention(const Attention& op, float* scratch);
void rope_head(float* x, const float* table, std::int64_t head_size);
void narrow(const float* from, void* to, Element element, std::int64_t n);
void widen(const void* from, Element element, float* to, std::int64_t n);
void decode(const GroupedRows& format, const void* row, float* to, std::int64_t n);
void gate(const float* gate, const float* up, Activation activation, float* to, std::int64_t n);
void add(const float* a, const float* b, float* to, std::int64_t n);

#define GALAGO_NAME_OF(isa) #isa
#define GALAGO_NAME(isa) GALAGO_NAME_OF(isa)

const KernelTable& table() {
  static const KernelTable kernels{GALAGO_NAME(GALAGO_ISA),
                                   linear,
                                   quantise,
                                   layer_norm,
                                   rms_norm,
                                   attention,
                                   rope_head,
                                   narrow,
                                   widen,
                                   decode,
                                   gate,
                                   add};
  return kernels;
}

}  // namespace galago::kernels::GALAGO_ISA
