#include "runtime/load/model_path.h"

#include "galago/engine.h"

namespace galago::runtime {

checkpoint::ModelPath model_path(const std::filesystem::path& model, const std::filesystem::path& projector) {
  checkpoint::ModelPath path = model.empty()
                                   ? checkpoint::ModelPath{demo_model(), {}}
                                   : checkpoint::find_model(model.string(), checkpoint::model_stores());
  if (!projector.empty()) path.projector = projector;
  return path;
}

}  // namespace galago::runtime
