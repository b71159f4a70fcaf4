#include "checkpoint/model_name.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/fail.h"
#include "base/printable.h"
#include "checkpoint/hub_cache.h"
#include "checkpoint/ollama_store.h"

namespace galago::checkpoint {
namespace {

namespace fs = std::filesystem;

fs::path from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr ? fs::path(value) : fs::path();
}

/// The directory of `variable`, or `below` that of `otherwise`.
fs::path place(const char* variable, const fs::path& otherwise, const char* below) {
  const fs::path named = from_environment(variable);
  if (!named.empty()) return named;
  return otherwise.empty() ? fs::path() : otherwise / below;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '/' || c == ':';
}

/// Words joined by "/", the last one with a ":tag" perhaps; no word is one that a path gives a meaning.
bool is_model_name(const std::string& name) {
  constexpr std::size_t longest = 200;
  if (name.empty() || name.size() > longest || !std::all_of(name.begin(), name.end(), is_plain)) return false;
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (end == begin || name[begin] == '.' || name[begin] == ':') return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace

ModelStores model_stores() {
  const fs::path home = from_environment("HOME");
  const fs::path cache = place("XDG_CACHE_HOME", home, ".cache");
  const fs::path hugging_face = place("HF_HOME", cache, "huggingface");
  ModelStores stores;
  stores.hub = place("HF_HUB_CACHE", hugging_face, "hub");
  stores.ollama = {place("OLLAMA_MODELS", home, ".ollama/models"), "/usr/share/ollama/.ollama/models"};
  return stores;
}

ModelPath find_model(const std::string& name, const ModelStores& stores) {
  std::error_code error;
  if (fs::exists(name, error)) return {name, {}};
  if (!is_model_name(name)) {
    fail(ErrorCode::model, "{}: there is no such file or directory, and it is no name of a model either",
         printable(name));
  }
  std::vector<std::string> looked;
  if (const auto found = find_in_hub_cache(name, stores.hub, looked)) return *found;
  for (const fs::path& store : stores.ollama) {
    if (const auto found = find_in_ollama_store(name, store, looked)) return *found;
  }
  std::string places;
  for (const std::string& place : looked) {
    if (!places.empty()) places += ", ";
    places += place;
  }
  fail(ErrorCode::model,
       "{}: there is no such file or directory, and no model of this name in {}; get it with "
       "\"hf download ORG/NAME\" or \"ollama pull NAME\", or give the directory or GGUF file it lies in",
       name, places.empty() ? "any store (HOME is not set)" : places);
}

}  // namespace galago::checkpoint
