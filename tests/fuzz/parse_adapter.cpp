// An adapter beside its base, as far as a plan goes: the one parser that needs a device.
#include "backend/cpu/cpu_backend.h"
#include "fuzz/parsers.h"
#include "runtime/load/adapters.h"
#include "runtime/plan/planner.h"

namespace galago::fuzz {

void parse_adapter(const std::filesystem::path& base, const std::filesystem::path& directory) {
  runtime::ModelFiles files = runtime::open_model(base);
  runtime::add_adapters(files, {&directory, 1});
  runtime::merge_adapters(files, {&directory, 1});
  EngineOptions options;
  options.context = 8;
  const auto backend = backend::make_cpu_backend(1);
  runtime::rehearse(files, runtime::configure(options, files.description, {}), *backend);
}

}  // namespace galago::fuzz
