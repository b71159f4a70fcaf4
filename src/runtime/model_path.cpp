#include "runtime/model_path.h"

#include "checkpoint/model_name.h"
#include "galago/engine.h"

namespace galago::runtime {

std::filesystem::path model_path(const std::filesystem::path& model) {
  if (model.empty()) return demo_model();
  return checkpoint::find_model(model.string(), checkpoint::model_stores()).model;
}

}  // namespace galago::runtime
