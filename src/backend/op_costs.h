// What every op must do at least, on any device: operations, bytes read and bytes written. A plan's times and
// a profile's ceilings come from these.
#pragma once

#include <span>

#include "backend/backend.h"

namespace galago::backend::costs {

/// y = activation(x w^T + bias) + residual.
Cost linear(const Matrix& x, const Weight& w, const Epilogue& epilogue, const Matrix& y);
/// y = activation(x gate^T) * (x up^T).
Cost gated_linear(const Matrix& x, const Weight& gate_up, const Matrix& y);
/// y = activation(left half of x) * right half.
Cost gate(const Matrix& x, const Matrix& y);
/// x *= a number.
Cost scale(const Matrix& x);
Cost layer_norm(const Matrix& x, const Weight& weight, const Weight& bias, const Matrix& y);
Cost rms_norm(const Matrix& x, const Weight& weight, const Matrix& y);
/// y += x * scale.
Cost add_scaled(const Matrix& x, const Weight& scale, const Matrix& y);
/// Values that only change their place.
Cost move(const Matrix& from, const Matrix& to);
Cost tower_embed(const Matrix& patches, const Weight& class_embedding, const Weight& positions,
                 const Matrix& y);
/// Of the least: each row's largest is found.
Cost choose(const Matrix& logits);
Cost rope_frequencies(std::span<const float> frequencies);
Cost rope_table(std::span<const SequenceRows> sequences, const Weight& inverse_frequencies,
                const Matrix& table);
Cost rope(const Matrix& x, const Matrix& table);
Cost append_kv(const Matrix& k, const Matrix& v, const Heads& heads, const LayerPages& pages);
Cost attend_tile(const Matrix& q, std::int64_t tokens_per_tile, const Heads& heads, const Matrix& k);
/// A query sees the positions before it and its own, as far as the window goes, and the sinks.
Cost attend_pages(const Matrix& q, std::span<const SequenceRows> sequences, const LayerPages& pages,
                  const Heads& heads);

}  // namespace galago::backend::costs
