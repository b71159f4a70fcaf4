// The options that several subcommands share, as they land in the library's own structs.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "galago/image.h"
#include "galago/options.h"
#include "galago/plan.h"

namespace galago::cli {

/// -m MODEL; nothing: the demo model.
void add_model_option(CLI::App& command, EngineOptions& options);

/// --mmproj FILE.
void add_mmproj_option(CLI::App& command, EngineOptions& options);

/// --shape NAME in place of -m, which must have been added before.
void add_shape_option(CLI::App& command, EngineOptions& options);

/// The words of --precision; the first is the default.
const std::vector<std::pair<std::string, Precision>>& precision_words();

/// What memory is spent on: precisions of the parts, --kv, --window, --tower, --stream-layers.
void add_storage_options(CLI::App& command, EngineOptions& options);

/// --memory.
void add_memory_option(CLI::App& command, EngineOptions& options);

/// --packed FILE.
void add_packed_option(CLI::App& command, EngineOptions& options);

/// --system TEXT.
void add_system_option(CLI::App& command, std::string& system);

/// What the library has to say of the model that was planned, on stderr.
void tell_notice(const Plan& plan);

/// What was chosen for --memory, on stderr.
void tell_choice(const Plan& plan);

/// How the model is loaded: precision, memory, context, device, threads, chat format.
void add_engine_options(CLI::App& command, EngineOptions& options);

/// --batch, --kv-tokens, --encode-batch: for many requests.
void add_batch_options(CLI::App& command, EngineOptions& options);

/// --exif, --max-pixels.
void add_picture_options(CLI::App& command, DecodeOptions& options);

/// --temperature and its relatives, --seed, --stop.
void add_sampling_options(CLI::App& command, SamplingOptions& options);

void add_max_new_tokens(CLI::App& command, SamplingOptions& options);

/// The text of a file. Throws Error{io}.
std::string read_text_file(const std::string& path);

/// The text with control characters replaced by "?", so that neither a file's name nor a model's words can
/// drive a terminal or break a line.
std::string one_line(std::string_view text);

}  // namespace galago::cli
