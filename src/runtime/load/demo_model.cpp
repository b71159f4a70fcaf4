// Where the demo model lies.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/fail.h"
#include "galago/engine.h"

namespace galago {

std::filesystem::path demo_model() {
  namespace fs = std::filesystem;
  if (const char* named = std::getenv("GALAGO_DEMO_MODEL"); named != nullptr && *named != '\0') return named;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = program.parent_path().parent_path() / GALAGO_DATA_DIR / "models/demo";
  for (const fs::path& place : {installed, fs::path(GALAGO_INSTALLED_DEMO), fs::path(GALAGO_SOURCE_DEMO)}) {
    if (fs::exists(place / "config.json", error)) return place;
  }
  fail(ErrorCode::model,
       "the demo model was not found in {}, {} or {}; name a model with -m, or set GALAGO_DEMO_MODEL",
       installed.string(), GALAGO_INSTALLED_DEMO, GALAGO_SOURCE_DEMO);
}

}  // namespace galago
