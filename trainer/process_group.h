#pragma once
// What processes that train one model together tell one another, through torch.distributed's own library (c10d): Gloo
// for tensors in the CPU's memory, NCCL for those in a GPU's. Every process makes the same calls in the same order.

#include <ATen/core/Tensor.h>

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/rendezvous.h"

namespace chorus {

/// A process was lost, or gave no sign in time. In one line, with what was waited for.
class ProcessLost : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Rows of a batch that one process computes.
struct RowRange {
    std::size_t begin = 0;
    std::size_t size = 0;
};

/// One thread at a time, which may be another than the one that made it. All that exchanges throws ProcessLost.
class ProcessGroup {
  public:
    /// This process alone: nothing is exchanged, and what is given comes back as it is.
    ProcessGroup();
    /// Waits for the others, at most `timeout`, which is also how long it then waits for a sign of life. Throws
    /// std::runtime_error in one line where they don't meet, or where this build has no Gloo.
    ProcessGroup(const Rendezvous& rendezvous, std::chrono::milliseconds timeout);
    ~ProcessGroup();
    ProcessGroup(const ProcessGroup&) = delete;
    ProcessGroup& operator=(const ProcessGroup&) = delete;

    int rank() const { return rendezvous_.rank; }
    int size() const { return rendezvous_.world_size; }
    int local_rank() const { return rendezvous_.local_rank; }
    bool is_alone() const { return rendezvous_.is_alone(); }
    bool leads() const { return rendezvous_.rank == 0; }

    /// This process's of so many rows, a multiple of size().
    RowRange own_of(std::size_t rows) const;
    /// The same of a tensor's [rows, ...].
    at::Tensor own_rows(const at::Tensor& all) const;
    /// [rows, ...] of each process -> [size() * rows, ...], by rank. Knows nothing of gradients (exchange.h does).
    at::Tensor gather(const at::Tensor& own, std::string_view what) const;
    /// The sum over all processes.
    at::Tensor add_up(const at::Tensor& own, std::string_view what) const;
    /// Puts the mean over all processes into each of these float32 tensors, in one exchange, and waits for its end.
    void average(std::span<const at::Tensor> tensors, std::string_view what) const;
    /// Gives all processes the leader's text, or nothing where it has none.
    void share(std::optional<std::string>& text, std::string_view what) const;
    /// Until all are here.
    void wait_for_all(std::string_view what) const;

  private:
    class Collectives;
    Rendezvous rendezvous_;
    std::unique_ptr<Collectives> collectives_;  // null if alone
};

}  // namespace chorus
