// The kernels of one instruction set, listed.
#include "kernels/cpu/simd.h"

#if defined(GALAGO_BASE_ISA)
#define GALAGO_REST_ISA GALAGO_BASE_ISA
#else
#define GALAGO_REST_ISA GALAGO_ISA
#endif

#if defined(GALAGO_BF16)
#define GALAGO_ATTENTION_ISA GALAGO_ISA
#else
#define GALAGO_ATTENTION_ISA GALAGO_REST_ISA
#endif

namespace galago::kernels::GALAGO_ATTENTION_ISA {
void attention(const Attention& op, float* scratch);
}  // namespace galago::kernels::GALAGO_ATTENTION_ISA

namespace galago::kernels::GALAGO_ISA {
void linear(const Linear& op, std::int64_t first_column, std::int64_t n_columns, float* scratch);
void quantise(const float* x, std::int64_t x_stride, std::int64_t k, const Int8Rows* terms,
              std::int32_t n_terms, std::int64_t first_row, std::int64_t n_rows);
}  // namespace galago::kernels::GALAGO_ISA

// What has no use for further instructions is that of the set without them.
namespace galago::kernels::GALAGO_REST_ISA {
void layer_norm(const Norm& op, std::int64_t first_row, std::int64_t n_rows);
void rms_norm(const Norm& op, std::int64_t first_row, std::int64_t n_rows);
void rope_head(float* x, const float* table, std::int64_t head_size);
void narrow(const float* from, void* to, Element element, std::int64_t n);
void widen(const void* from, Element element, float* to, std::int64_t n);
void decode(const GroupedRows& format, const void* row, float* to, std::int64_t n);
void gate(const float* gate, const float* up, Activation activation, float* to, std::int64_t n);
void add(const float* a, const float* b, float* to, std::int64_t n);
void resample_columns(const std::uint8_t* const* rows, std::int64_t n_inputs, const Taps& taps,
                      std::uint8_t* to, std::int64_t stride);
void add_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t* sums,
              std::int64_t n);
void round_sums(const std::int32_t* sums, std::uint8_t* to, std::int64_t n);
}  // namespace galago::kernels::GALAGO_REST_ISA

namespace galago::kernels::GALAGO_ISA {

#if defined(GALAGO_VNNI)
constexpr bool gains_from_int8 = true;
#else
constexpr bool gains_from_int8 = false;
#endif
#if defined(GALAGO_BF16)
constexpr bool multiplies_bf16 = true;
void round_to_bf16(const float* x, std::int64_t x_stride, std::int64_t m, std::int64_t k, const Bf16Rows& to,
                   std::int64_t first_panel, std::int64_t n_panels);
#else
constexpr bool multiplies_bf16 = false;
constexpr decltype(KernelTable::round_to_bf16) round_to_bf16 = nullptr;
#endif
#if defined(GALAGO_AMX)
constexpr bool bf16_beats_int8 = true;
#else
constexpr bool bf16_beats_int8 = false;
#endif

#define GALAGO_NAME_OF(isa) #isa
#define GALAGO_NAME(isa) GALAGO_NAME_OF(isa)

const KernelTable& table() {
  static const KernelTable kernels{GALAGO_NAME(GALAGO_ISA),
                                   gains_from_int8,
                                   multiplies_bf16,
                                   bf16_beats_int8,
                                   linear,
                                   quantise,
                                   round_to_bf16,
                                   GALAGO_REST_ISA::layer_norm,
                                   GALAGO_REST_ISA::rms_norm,
                                   GALAGO_ATTENTION_ISA::attention,
                                   GALAGO_REST_ISA::rope_head,
                                   GALAGO_REST_ISA::narrow,
                                   GALAGO_REST_ISA::widen,
                                   GALAGO_REST_ISA::decode,
                                   GALAGO_REST_ISA::gate,
                                   GALAGO_REST_ISA::add,
                                   GALAGO_REST_ISA::resample_columns,
                                   GALAGO_REST_ISA::add_rows,
                                   GALAGO_REST_ISA::round_sums};
  return kernels;
}

}  // namespace galago::kernels::GALAGO_ISA
