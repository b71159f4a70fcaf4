// The projector: tower features to the decoder's width.
#pragma once

#include "backend/backend.h"
#include "model/description.h"
#include "model/weights.h"

namespace galago::model {

/// LLaVA-1.5's two-layer MLP (arXiv:2310.03744), or InternVL's with pixel shuffle (arXiv:2404.16821).
struct Projector {
  ProjectorShape shape;
  Weight norm, norm_bias;      ///< [input], or not present
  Weight first, first_bias;    ///< [decoder hidden, input], [decoder hidden]
  Weight second, second_bias;  ///< [decoder hidden, decoder hidden], [decoder hidden]
  Weight newline;              ///< [1, decoder hidden], or not present
};

Projector load_projector(const ProjectorShape& shape, std::int64_t tower_width, std::int64_t decoder_width,
                         WeightSource& source);

/// embeddings [tokens, decoder hidden] of one tile's features [features, tower hidden].
void run_projector(const Projector& projector, backend::Backend& backend, backend::Execution& exec,
                   const Matrix& features, const Matrix& embeddings);

}  // namespace galago::model
