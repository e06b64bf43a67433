#pragma once
// A bundle's tensors as the scoring network wants them. Internal to model/.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/bundle.h"

namespace chorus {

/// A convolution's or linear layer's weights [out, in] (in: its input channels and taps together) and bias [out].
struct Weights {
    int out;
    int in;
    std::vector<float> values;
    std::vector<float> bias;
};

/// Hands out a bundle's tensors by name, checked, and knows which ones were asked for. Throws std::runtime_error naming
/// the tensor that is missing, unknown, of the wrong shape or type, or holds what is no number.
class TensorReader {
  public:
    explicit TensorReader(const std::map<std::string, StoredTensor>& tensors) : tensors_(tensors) {}

    std::vector<float> read(const std::string& name, const std::vector<std::int64_t>& shape);

    /// Convolution `name`.0 and the batch normalisation `name`.1 behind it, as one convolution.
    Weights read_folded(const std::string& name, int out, int in, int kernel);

    /// Weights and bias of a plain layer; `trailing` are the dimensions of size 1 behind [out, in].
    Weights read_plain(const std::string& name, int out, int in, int trailing);

    /// Throws where a tensor was never asked for.
    void expect_all_read() const;

  private:
    const StoredTensor& find(const std::string& name, const std::vector<std::int64_t>& shape);

    const std::map<std::string, StoredTensor>& tensors_;
    std::set<std::string> known_;
};

}  // namespace chorus
