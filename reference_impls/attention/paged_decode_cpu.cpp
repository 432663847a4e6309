// Attention of one query a sequence over keys and values in blocks, read once and where they lie.
// Vectors of eight numbers, which the compiler maps to what the processor has; `omp simd` lets it reorder sums.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t kTile = 64;  // tokens whose scores are held at a time
constexpr int64_t kLanes = 8;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint16_t Halves __attribute__((vector_size(kLanes * sizeof(uint16_t))));
typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t))));
typedef uint32_t Words __attribute__((vector_size(kLanes * sizeof(uint32_t))));

struct Bfloat16 {  // the upper half of a float
  uint16_t bits;
};

inline Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

inline Lanes load(const Bfloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return (Lanes)(__builtin_convertvector(halves, Words) << 16);
}

inline float one(const float* from) { return *from; }

inline float one(const Bfloat16* from) {
  const uint32_t wide = uint32_t(from->bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

inline float sum_of(const Lanes& lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// exp(x) for x <= 0, within a few units in the last place: 2**n by the bits of the exponent, times a polynomial.
inline Lanes exp_of(Lanes x) {
  const Lanes held = x < -87.0f ? Lanes{} - 87.0f : x;
  const float rounder = 12582912.0f;  // 1.5 * 2**23: adding it leaves no bits for a fraction
  const Lanes n = (held * 1.44269504f + rounder) - rounder;
  const Lanes r = (held - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  const Lanes p = 1 + r * (1 + r * (0.5f + r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720))))));
  const Lanes scale = (Lanes)((__builtin_convertvector(n, Integers) + 127) << 23);
  return x < -87.0f ? Lanes{} : p * scale;
}

// scores[t] = query . keys[t], of `kCount` tokens at once: several sums grow side by side.
template <int kCount, typename Number>
inline void dots(const float* query, const Number* keys, int64_t stride, int64_t dim, float* scores) {
  Lanes sums[kCount] = {};
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    const Lanes part = load(query + d);
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) sums[t] += part * load(keys + t * stride + d);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) {
    scores[t] = sum_of(sums[t]);
    for (int64_t rest = d; rest < dim; ++rest) scores[t] += query[rest] * one(keys + t * stride + rest);
  }
}

// mix += sum of shares[t] * values[t], for `kCount` vectors of dimensions, which stay in registers meanwhile.
template <int kCount, typename Number>
inline void add_lanes(const float* shares, const Number* values, int64_t stride, int64_t tokens, float* mix) {
  Lanes sums[kCount];
  for (int i = 0; i < kCount; ++i) sums[i] = load(mix + i * kLanes);
  for (int64_t t = 0; t < tokens; ++t)
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sums[i] += shares[t] * load(values + t * stride + i * kLanes);
  std::memcpy(mix, sums, sizeof sums);
}

template <typename Number>
inline void add(const float* shares, const Number* values, int64_t stride, int64_t tokens, int64_t dim, float* mix) {
  int64_t d = 0;
  for (; d + 8 * kLanes <= dim; d += 8 * kLanes) add_lanes<8>(shares, values + d, stride, tokens, mix + d);
  for (; d + kLanes <= dim; d += kLanes) add_lanes<1>(shares, values + d, stride, tokens, mix + d);
  for (; d < dim; ++d)
    for (int64_t t = 0; t < tokens; ++t) mix[d] += shares[t] * one(values + t * stride + d);
}

struct Sizes {
  int64_t batch, heads, kv_heads, dim, row_blocks, per_block, of_block, of_token, of_head;  // of_*: strides in numbers
};

// Tokens [first, end) in stretches that lie in one block: visit(place of the first, tokens before it, tokens).
template <typename Visit>
inline void in_runs(int64_t first, int64_t end, const int64_t* table, const Sizes& s, const Visit& visit) {
  for (int64_t at = first; at < end;) {
    const int64_t offset = at % s.per_block, run = std::min(s.per_block - offset, end - at);
    visit(table[at / s.per_block] * s.of_block + offset * s.of_token, at - first, run);
    at += run;
  }
}

// All query heads that share one head of keys, over one sequence, tile by tile: the largest score, total and mix as they grow.
template <typename Number>
void one_group(const float* queries, const Number* keys, const Number* values, const int64_t* table, int64_t length,
               const Sizes& s, float* mixed, float* log_total) {
  const int64_t group = s.heads / s.kv_heads;
  std::vector<float> scores(group * kTile), most(group, kHidden), total(group, 0.0f);
  std::fill(mixed, mixed + group * s.dim, 0.0f);
  for (int64_t first = 0; first < length; first += kTile) {
    const int64_t end = std::min(first + kTile, length);
    in_runs(first, end, table, s, [&](int64_t place, int64_t seen, int64_t run) {
      for (int64_t g = 0; g < group; ++g) {
        float* row = scores.data() + g * kTile + seen;
        const float* query = queries + g * s.dim;
        const Number* key = keys + place;
        int64_t t = 0;
        for (; t + 4 <= run; t += 4) dots<4>(query, key + t * s.of_token, s.of_token, s.dim, row + t);
        for (; t < run; ++t) dots<1>(query, key + t * s.of_token, s.of_token, s.dim, row + t);
      }
    });
    for (int64_t g = 0; g < group; ++g) {
      float* row = scores.data() + g * kTile;
      std::fill(row + (end - first), row + kTile, kHidden);
      float peak = most[g];
#pragma omp simd reduction(max : peak)
      for (int64_t t = 0; t < kTile; ++t) peak = std::max(peak, row[t]);
      const float shrink = most[g] == kHidden ? 0.0f : std::exp(most[g] - peak);
      Lanes sums = {};
      for (int64_t t = 0; t < kTile; t += kLanes) {
        const Lanes shares = exp_of(load(row + t) - peak);
        std::memcpy(row + t, &shares, sizeof shares);
        sums += shares;
      }
      total[g] = total[g] * shrink + sum_of(sums);
      most[g] = peak;
      for (int64_t d = 0; d < s.dim; ++d) mixed[g * s.dim + d] *= shrink;
    }
    in_runs(first, end, table, s, [&](int64_t place, int64_t seen, int64_t run) {
      for (int64_t g = 0; g < group; ++g)
        add(scores.data() + g * kTile + seen, values + place, s.of_token, run, s.dim, mixed + g * s.dim);
    });
  }
  for (int64_t g = 0; g < group; ++g) {
    const float whole = total[g] == 0 ? 1 : total[g];  // 0: a sequence of no tokens
    log_total[g] = most[g] + std::log(whole);
    for (int64_t d = 0; d < s.dim; ++d) mixed[g * s.dim + d] /= whole;
  }
}

template <typename Number>
void all(const float* queries, const Number* keys, const Number* values, const int64_t* table, const int64_t* lengths,
         float* mixed, float* log_total, const Sizes& s, int threads) {
  const int64_t group = s.heads / s.kv_heads;
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t one = 0; one < s.batch * s.kv_heads; ++one) {
    const int64_t row = one / s.kv_heads, head = one % s.kv_heads;
    one_group(queries + one * group * s.dim, keys + head * s.of_head, values + head * s.of_head,
              table + row * s.row_blocks, lengths[row], s, mixed + one * group * s.dim, log_total + one * group);
  }
}

}  // namespace

// queries: (batch, heads, dim), times the softmax's scale; table: (batch, row_blocks); lengths: (batch,), at least 1
// -> mixed: as queries; log_total: (batch, heads)
extern "C" void paged_decode(const float* queries, const void* keys, const void* values, const int64_t* table,
                             const int64_t* lengths, float* mixed, float* log_total, int64_t batch, int64_t heads,
                             int64_t kv_heads, int64_t dim, int64_t row_blocks, int64_t per_block, int64_t of_block,
                             int64_t of_token, int64_t of_head, int64_t halves, int threads) {
  const Sizes s{batch, heads, kv_heads, dim, row_blocks, per_block, of_block, of_token, of_head};
  if (halves)
    all(queries, static_cast<const Bfloat16*>(keys), static_cast<const Bfloat16*>(values), table, lengths, mixed,
        log_total, s, threads);
  else
    all(queries, static_cast<const float*>(keys), static_cast<const float*>(values), table, lengths, mixed, log_total,
        s, threads);
}
