// The request that an executor was planned for, for real.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/executor.h"
#include "runtime/sequence.h"

namespace galago::test {

/// A black picture, the prompt, and a token at the end of the context for as many requests as are decoded at
/// once, all in the pages of one: no more than one is said to need.
inline void run_planned_request(runtime::Executor& executor) {
  const runtime::Configuration& configuration = executor.configuration();
  memory::PagePool pool(configuration.request_pages());
  runtime::Sequence sequence(pool, configuration.retention(), configuration.context, {});
  const auto append = [&](std::int64_t n) {
    sequence.append(std::vector<runtime::ContentKey>(static_cast<std::size_t>(n)));
  };
  if (configuration.with_pictures) {
    const auto black = [](std::int64_t, std::span<float> pixels) {
      std::fill(pixels.begin(), pixels.end(), 0.0F);
    };
    executor.encode(configuration.picture.n_tiles, black, {}, configuration.kept_pictures - 1);
  }
  const std::int64_t length = configuration.prompt_tokens;
  for (std::int64_t done = 0; done < length; done += configuration.prefill_chunk) {
    const std::int64_t n = std::min(configuration.prefill_chunk, length - done);
    const std::vector<std::int32_t> ids(static_cast<std::size_t>(n), 1);
    append(n);
    executor.step(backend::Phase::prefill, ids, {0, n, done, sequence.pages(), 0, sequence.given_back()},
                  configuration.logit_rows > 1 ? n : (done + n == length ? 1 : 0));
  }
  while (sequence.length() < configuration.context) append(1);
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(configuration.batch), 1);
  std::vector<backend::SequenceRows> rows;
  for (std::int64_t i = 0; i < configuration.batch; ++i) {
    rows.push_back({i, 1, configuration.context - 1, sequence.pages(), 0, sequence.given_back()});
  }
  executor.copy_page(0, sequence.pages().back());
  executor.step(backend::Phase::decode, ids, rows, configuration.batch);
  executor.choose(std::vector<backend::TokenChoice>(rows.size()));
  const Matrix logits = executor.logits();
  EXPECT_TRUE(std::isfinite(logits.row(configuration.batch - 1)[0]));
}

}  // namespace galago::test
