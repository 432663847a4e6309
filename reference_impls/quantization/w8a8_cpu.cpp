// Products of 8-bit weights with inputs rounded to 8 bits, row by row of the weight, as it lies in memory.
// Plain loops: what a compiler makes of them reads weights about as fast as memory gives them.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int32_t kMagnitude = 0x7fffffff;      // all bits of a float but its sign: they are ordered as numbers are
constexpr float kRounder = 12582912.0f;         // 1.5 * 2**23: a float near it has no bits for a fraction
constexpr int32_t kRounderBits = 0x4b400000;

int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// -> what one code stands for. 16 bits a code, since a product with an 8-bit weight is then one instruction.
float round_row(const float* inputs, int16_t* codes, int64_t in) {
  int32_t most_bits = 0;
  for (int64_t i = 0; i < in; ++i) most_bits = std::max(most_bits, bits_of(inputs[i]) & kMagnitude);
  float most;
  std::memcpy(&most, &most_bits, sizeof most);  // an infinity or NaN is the largest, and so reaches every output
  const float step = most_bits ? most / 127 : 1.0f;
  const float steps = 1 / step;
  for (int64_t i = 0; i < in; ++i) codes[i] = int16_t(bits_of(inputs[i] * steps + kRounder) - kRounderBits);
  return step;
}

int32_t dot(const int8_t* weight, const int16_t* inputs, int64_t in) {
  int32_t sum = 0;
  for (int64_t i = 0; i < in; ++i) sum += int32_t(weight[i]) * inputs[i];
  return sum;
}

}  // namespace

// inputs: (rows, in); codes: (out, in); scale: (out,) -> outputs: (rows, out)
extern "C" void w8a8_product(const float* inputs, const int8_t* codes, const float* scale, float* outputs,
                             int64_t rows, int64_t in, int64_t out, int threads) {
  thread_local std::vector<int16_t> held;
  thread_local std::vector<float> step;
  held.resize(rows * in);
  step.resize(rows);
  for (int64_t row = 0; row < rows; ++row) step[row] = round_row(inputs + row * in, held.data() + row * in, in);
  const int16_t* rounded = held.data();  // the caller's, also inside the threads
  const float* steps = step.data();
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t o = 0; o < out; ++o)
    for (int64_t row = 0; row < rows; ++row)
      outputs[row * out + o] = float(dot(codes + o * in, rounded + row * in, in)) * (scale[o] * steps[row]);
}
