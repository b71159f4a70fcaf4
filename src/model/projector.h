// The projector: tower features to the decoder's width.
#pragma once

#include "backend/backend.h"
#include "model/description.h"
#include "model/weights.h"

namespace galago::model {

/// LLaVA-1.5's two-layer MLP (arXiv:2310.03744).
struct Projector {
  ProjectorShape shape;
  Weight first, first_bias;    ///< [decoder hidden, tower hidden], [decoder hidden]
  Weight second, second_bias;  ///< [decoder hidden, decoder hidden], [decoder hidden]
};

Projector load_projector(const ProjectorShape& shape, std::int64_t tower_width, std::int64_t decoder_width,
                         WeightSource& source);

/// embeddings [rows, decoder hidden] of features [rows, tower hidden].
void run_projector(const Projector& projector, backend::Backend& backend, backend::Execution& exec,
                   const Matrix& features, const Matrix& embeddings);

}  // namespace galago::model
