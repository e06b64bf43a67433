#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "model/classifier.h"

namespace chorus {

/// Lends a few classifiers to more threads than there are of them: so many windows are scored at once, whoever has
/// them.
class ClassifierPool {
  public:
    /// At most `most` classifiers that share the first one's weights; the first outlives the pool.
    ClassifierPool(Classifier& first, std::size_t most);
    ClassifierPool(const ClassifierPool&) = delete;
    ClassifierPool& operator=(const ClassifierPool&) = delete;

    std::size_t size() const { return all_.size(); }

    /// Borrows one for each call of score(). The pool outlives it.
    std::unique_ptr<Classifier> lend();

  private:
    class Borrower;
    Classifier& take();
    void give_back(Classifier& classifier);

    std::vector<std::unique_ptr<Classifier>> more_;
    std::vector<Classifier*> all_;
    std::mutex mutex_;
    std::condition_variable given_back_;
    std::vector<Classifier*> free_;
};

}  // namespace chorus
