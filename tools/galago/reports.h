// What a run tells of itself when asked: memory by part, and time by kind of operation.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "galago/engine.h"

namespace galago::cli {

struct ReportOptions {
  bool memory = false;
  std::string memory_trace;
  bool profile = false;
  std::string profile_json;
};

/// --memory-report, --memory-trace FILE, --profile, --profile-json FILE.
void add_report_options(CLI::App& command, ReportOptions& options);

/// Before the first request.
void begin_reports(Engine& engine, const ReportOptions& options);

/// One line on stderr, after a request.
void tell_live_memory(const Engine& engine, const ReportOptions& options);

/// Tables on stderr, files where they were asked for. The engine is gone afterwards: the machine's ceilings
/// are measured in its place. Throws Error{io}.
void finish_reports(std::optional<Engine>& engine, const EngineOptions& engine_options,
                    const ReportOptions& options);

}  // namespace galago::cli
