// Which earlier positions the decoder's layers see, as the options ask for it.
#pragma once

#include "galago/options.h"
#include "model/description.h"

namespace galago::runtime {

/// Gives every layer the window and the sinks that were asked for. A layer whose own window is narrower keeps
/// it. Throws Error{usage} for numbers that cannot be.
void limit_windows(const EngineOptions& options, model::DecoderShape& decoder);

/// The window of the layer that sees the most; 0 where one sees all positions.
std::int64_t widest_window(const model::DecoderShape& decoder);

}  // namespace galago::runtime
