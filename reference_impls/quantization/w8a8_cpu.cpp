// Products of 8-bit weights with inputs rounded to 8 bits, row by row of the weight, as it lies in memory.
// One call does it all, from numbers to numbers: between other work every step of its own starts from cold memory.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

constexpr int32_t kMagnitude = 0x7fffffff;      // all bits of a float but its sign: they are ordered as numbers are
constexpr float kRounder = 12582912.0f;         // 1.5 * 2**23: a float near it has no bits for a fraction
constexpr int32_t kRounderBits = 0x4b400000;
constexpr int kAtOnce = 4;                      // rows of inputs that share one load of a weight

struct Bfloat16 {  // the upper half of a float
  uint16_t bits;
};

template <typename To, typename From>
To as(From value) {
  To bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float wide(float value) { return value; }
float wide(Bfloat16 value) { return as<float>(uint32_t(value.bits) << 16); }

void put(float value, float* to) { *to = value; }
void put(float value, Bfloat16* to) {  // to the nearest, ties to even; a NaN stays one
  const uint32_t bits = as<uint32_t>(value);
  to->bits = value != value ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// -> what one code stands for
template <typename Number>
float round_row(const Number* inputs, int8_t* codes, int64_t in) {
  int32_t most_bits = 0;
  for (int64_t i = 0; i < in; ++i) most_bits = std::max(most_bits, as<int32_t>(wide(inputs[i])) & kMagnitude);
  const float most = as<float>(most_bits);  // an infinity or NaN is the largest, and so reaches every output
  const float step = most_bits ? most / 127 : 1.0f;
  const float steps = 1 / step;
  for (int64_t i = 0; i < in; ++i)
    codes[i] = int8_t(as<int32_t>(wide(inputs[i]) * steps + kRounder) - kRounderBits);
  return step;
}

// sums[r] = weight . inputs[r], of kRows rows of inputs. Fewer instructions a byte let the processor look further
// ahead, which is what hides the latency of memory; asking for bytes ahead of time made it slower.
template <int kRows>
void dots(const int8_t* weight, const int8_t* inputs, int64_t in, int32_t* sums) {
  int64_t done = 0;
  for (int row = 0; row < kRows; ++row) sums[row] = 0;
#ifdef __AVX2__
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i lanes[kRows] = {};
  for (; done + 32 <= in; done += 32) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + done));
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const __m256i rounded = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs + row * in + done));
      // |w| * (x with the sign of w): a pair is at most 2 * 128 * 127, which 16 bits hold
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(rounded, codes));
      lanes[row] = _mm256_add_epi32(lanes[row], _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int row = 0; row < kRows; ++row) {
    int32_t parts[8];
    std::memcpy(parts, &lanes[row], sizeof parts);
    for (int32_t part : parts) sums[row] += part;
  }
#endif
  for (int row = 0; row < kRows; ++row)
    for (int64_t i = done; i < in; ++i) sums[row] += int32_t(weight[i]) * inputs[row * in + i];
}

constexpr decltype(&dots<1>) kDots[] = {dots<1>, dots<2>, dots<3>, dots<kAtOnce>};

template <typename Number>
void product(const Number* inputs, const int8_t* codes, const float* scale, Number* outputs, int64_t rows, int64_t in,
             int64_t out, int threads) {
  thread_local std::vector<int8_t> held;
  thread_local std::vector<float> step;
  held.resize(rows * in);
  step.resize(rows);
  for (int64_t row = 0; row < rows; ++row) step[row] = round_row(inputs + row * in, held.data() + row * in, in);
  const int8_t* rounded = held.data();  // the caller's, also inside the threads
  const float* steps = step.data();
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t o = 0; o < out; ++o) {
    int32_t sums[kAtOnce];
    for (int64_t row = 0; row < rows;) {
      const int count = int(std::min<int64_t>(rows - row, kAtOnce));
      kDots[count - 1](codes + o * in, rounded + row * in, in, sums);
      for (int i = 0; i < count; ++i, ++row) put(float(sums[i]) * (scale[o] * steps[row]), outputs + row * out + o);
    }
  }
}

}  // namespace

// inputs: (rows, in); codes: (out, in); scale: (out,) -> outputs: (rows, out); bfloat16 if `halves`, else float32
extern "C" void w8a8_product(const void* inputs, const int8_t* codes, const float* scale, void* outputs, int64_t rows,
                             int64_t in, int64_t out, int64_t halves, int threads) {
  if (halves)
    product(static_cast<const Bfloat16*>(inputs), codes, scale, static_cast<Bfloat16*>(outputs), rows, in, out,
            threads);
  else
    product(static_cast<const float*>(inputs), codes, scale, static_cast<float*>(outputs), rows, in, out, threads);
}
