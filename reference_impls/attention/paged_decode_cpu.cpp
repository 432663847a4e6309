// Attention of one query a sequence over keys and values in blocks, read once and where they lie.
// Vectors of eight numbers, which the compiler maps to what the processor has; `omp simd` lets it reorder sums.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t kTile = 32;  // tokens whose scores are held at a time
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

// Sums of neighbours, of the first vector beside those of the second, four lanes by four lanes.
inline Lanes neighbours(const Lanes& a, const Lanes& b) {
  return __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
         __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
}

// The sums of eight vectors side by side: as many additions as three of them would need one by one.
inline Lanes sums_of(const Lanes* s) {
  const Lanes a = neighbours(neighbours(s[0], s[1]), neighbours(s[2], s[3]));
  const Lanes b = neighbours(neighbours(s[4], s[5]), neighbours(s[6], s[7]));
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}

template <typename Number>
inline float dot_rest(const float* query, const Number* key, int64_t first, int64_t dim) {
  float sum = 0;
  for (int64_t d = first; d < dim; ++d) sum += query[d] * one(key + d);
  return sum;
}

// scores[t] = query . keys[t], of eight tokens at once: several sums grow side by side.
template <typename Number>
inline void dots(const float* query, const Number* keys, int64_t stride, int64_t dim, float* scores) {
  Lanes sums[kLanes] = {};
  const int64_t whole = dim / kLanes * kLanes;
  for (int64_t d = 0; d < whole; d += kLanes) {
    const Lanes part = load(query + d);
#pragma GCC unroll 8
    for (int t = 0; t < kLanes; ++t) sums[t] += part * load(keys + t * stride + d);
  }
  const Lanes all = sums_of(sums);
  std::memcpy(scores, &all, sizeof all);
  if (whole < dim)
    for (int t = 0; t < kLanes; ++t) scores[t] += dot_rest(query, keys + t * stride, whole, dim);
}

template <typename Number>
inline float dot(const float* query, const Number* key, int64_t dim) {
  Lanes sums = {};
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) sums += load(query + d) * load(key + d);
  return sum_of(sums) + dot_rest(query, key, d, dim);
}

// mix += sum of shares[t] * values[t], for `kCount` vectors of dimensions, which stay in registers meanwhile.
template <int kCount, typename Number>
inline void add_lanes(const float* shares, const Number* values, int64_t stride, int64_t tokens, float* mix) {
  Lanes sums[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sums[i] = load(mix + i * kLanes);
  for (int64_t t = 0; t < tokens; ++t)
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sums[i] += shares[t] * load(values + t * stride + i * kLanes);
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) std::memcpy(mix + i * kLanes, &sums[i], sizeof sums[i]);  // one by one: no array
}

template <typename Number>
inline void add(const float* shares, const Number* values, int64_t stride, int64_t tokens, int64_t dim, float* mix) {
  int64_t d = 0;
  for (; d + 8 * kLanes <= dim; d += 8 * kLanes) add_lanes<8>(shares, values + d, stride, tokens, mix + d);
  for (; d + 4 * kLanes <= dim; d += 4 * kLanes) add_lanes<4>(shares, values + d, stride, tokens, mix + d);
  for (; d + kLanes <= dim; d += kLanes) add_lanes<1>(shares, values + d, stride, tokens, mix + d);
  for (; d < dim; ++d)
    for (int64_t t = 0; t < tokens; ++t) mix[d] += shares[t] * one(values + t * stride + d);
}

struct Sizes {
  int64_t batch, heads, kv_heads, dim, row_blocks, per_block, of_block, of_token, of_head;  // of_*: strides in numbers
  float scale;                                                                              // of scores
};

struct Row {  // a sequence
  const int64_t* table;
  int64_t length;
};

inline int64_t place_of(int64_t token, const Row& row, const Sizes& s) {
  return row.table[token / s.per_block] * s.of_block + token % s.per_block * s.of_token;
}

// Tokens [first, end) in stretches that lie in one block: visit(the first, how many).
template <typename Visit>
inline void in_runs(int64_t first, int64_t end, const Sizes& s, const Visit& visit) {
  for (int64_t at = first; at < end;) {
    const int64_t run = std::min(s.per_block - at % s.per_block, end - at);
    visit(at, run);
    at += run;
  }
}

// Ask for eight tokens, one request a line, without waiting. A core has few requests under way at a time, so they are
// spread over the products of the tile before; and the second cache, since asking for the first one was no faster than
// not asking.
template <typename Number>
inline void ask_for(const Number* from, const Sizes& s) {
  for (int64_t t = 0; t < kLanes; ++t)
    for (int64_t d = 0; d < s.dim; d += 64 / int64_t(sizeof(Number)))
      __builtin_prefetch(from + t * s.of_token + d, 0, 2);
}

// What grows, tile by tile, for all query heads that share one head of keys.
struct Group {
  std::vector<float> scores, most, total;
  explicit Group(int64_t heads) : scores(heads * kTile), most(heads, kHidden), total(heads, 0.0f) {}
};

// Scores of a tile, while what the next one reads is on its way.
template <typename Number>
void score_tile(const float* queries, const Number* keys, const Number* values, int64_t first, int64_t end,
                const Row& row, const Sizes& s, Group& group) {
  const int64_t heads = s.heads / s.kv_heads;
  in_runs(first, end, s, [&](int64_t at, int64_t run) {
    const Number* key = keys + place_of(at, row, s);
    const bool more = at + kTile < row.length;
    const int64_t later = more ? place_of(at + kTile, row, s) : 0;
    float* scores = group.scores.data() + (at - first);
    int64_t t = 0;
    for (; t + kLanes <= run; t += kLanes)
      for (int64_t g = 0; g < heads; ++g) {
        if (more && g == 0) ask_for(keys + later + t * s.of_token, s);
        if (more && g == heads - 1) ask_for(values + later + t * s.of_token, s);
        dots(queries + g * s.dim, key + t * s.of_token, s.of_token, s.dim, scores + g * kTile + t);
      }
    for (; t < run; ++t)
      for (int64_t g = 0; g < heads; ++g) scores[g * kTile + t] = dot(queries + g * s.dim, key + t * s.of_token, s.dim);
  });
}

// Scores of a tile become shares of what has been seen so far; what was mixed before shrinks by as much.
void share_tile(int64_t count, const Sizes& s, Group& group, float* mixed) {
  for (int64_t g = 0; g < s.heads / s.kv_heads; ++g) {
    float* row = group.scores.data() + g * kTile;
    for (int64_t t = 0; t < kTile; ++t) row[t] = t < count ? row[t] * s.scale : kHidden;
    float peak = group.most[g];
#pragma omp simd reduction(max : peak)
    for (int64_t t = 0; t < kTile; ++t) peak = std::max(peak, row[t]);
    const float shrink = group.most[g] == kHidden ? 0.0f : std::exp(group.most[g] - peak);
    Lanes sums = {};
    for (int64_t t = 0; t < kTile; t += kLanes) {
      const Lanes shares = exp_of(load(row + t) - peak);
      std::memcpy(row + t, &shares, sizeof shares);
      sums += shares;
    }
    group.total[g] = group.total[g] * shrink + sum_of(sums);
    group.most[g] = peak;
    for (int64_t d = 0; d < s.dim; ++d) mixed[g * s.dim + d] *= shrink;
  }
}

template <typename Number>
void mix_tile(const Number* values, int64_t first, int64_t end, const Row& row, const Sizes& s, const Group& group,
              float* mixed) {
  in_runs(first, end, s, [&](int64_t at, int64_t run) {
    const Number* value = values + place_of(at, row, s);
    for (int64_t g = 0; g < s.heads / s.kv_heads; ++g)
      add(group.scores.data() + g * kTile + (at - first), value, s.of_token, run, s.dim, mixed + g * s.dim);
  });
}

// One sequence and some heads of keys. Heads take turns within a tile, since those of a block lie together: memory
// far apart costs a look into the page tables each time.
template <typename Number>
void one_row(const float* queries, const Number* keys, const Number* values, const Row& row, const Sizes& s,
             int64_t kv_heads, float* mixed, float* log_total) {
  const int64_t heads = s.heads / s.kv_heads, size = heads * s.dim;
  std::vector<Group> groups(kv_heads, Group(heads));
  std::fill(mixed, mixed + kv_heads * size, 0.0f);
  for (int64_t first = 0; first < row.length; first += kTile) {
    const int64_t end = std::min(first + kTile, row.length);
    for (int64_t h = 0; h < kv_heads; ++h)
      score_tile(queries + h * size, keys + h * s.of_head, values + h * s.of_head, first, end, row, s, groups[h]);
    for (int64_t h = 0; h < kv_heads; ++h) {
      share_tile(end - first, s, groups[h], mixed + h * size);
      mix_tile(values + h * s.of_head, first, end, row, s, groups[h], mixed + h * size);
    }
  }
  for (int64_t head = 0; head < kv_heads * heads; ++head) {
    const Group& group = groups[head / heads];
    const float total = group.total[head % heads], whole = total == 0 ? 1 : total;  // 0: a sequence of no tokens
    log_total[head] = group.most[head % heads] + std::log(whole);
    for (int64_t d = 0; d < s.dim; ++d) mixed[head * s.dim + d] /= whole;
  }
}

template <typename Number>
void all(const float* queries, const Number* keys, const Number* values, const int64_t* table, const int64_t* lengths,
         float* mixed, float* log_total, const Sizes& s, int threads) {
  // a piece of work is a row, or a head of it where there are fewer rows than threads
  const int64_t at_once = s.batch < threads ? 1 : s.kv_heads, pieces = s.kv_heads / at_once;
  const int64_t heads = at_once * (s.heads / s.kv_heads);
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t piece = 0; piece < s.batch * pieces; ++piece) {
    const int64_t row = piece / pieces, place = piece % pieces * at_once * s.of_head, head = piece * heads;
    one_row(queries + head * s.dim, keys + place, values + place, {table + row * s.row_blocks, lengths[row]}, s,
            at_once, mixed + head * s.dim, log_total + head);
  }
}

}  // namespace

// queries: (batch, heads, dim); table: (batch, row_blocks); lengths: (batch,), at least 1
// -> mixed: as queries; log_total: (batch, heads)
extern "C" void paged_decode(const float* queries, const void* keys, const void* values, const int64_t* table,
                             const int64_t* lengths, float* mixed, float* log_total, int64_t batch, int64_t heads,
                             int64_t kv_heads, int64_t dim, int64_t row_blocks, int64_t per_block, int64_t of_block,
                             int64_t of_token, int64_t of_head, int64_t halves, float scale, int threads) {
  const Sizes s{batch, heads, kv_heads, dim, row_blocks, per_block, of_block, of_token, of_head, scale};
  if (halves)
    all(queries, static_cast<const Bfloat16*>(keys), static_cast<const Bfloat16*>(values), table, lengths, mixed,
        log_total, s, threads);
  else
    all(queries, static_cast<const float*>(keys), static_cast<const float*>(values), table, lengths, mixed, log_total,
        s, threads);
}
