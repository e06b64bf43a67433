#include "daemon/classifier_pool.h"

namespace chorus {

class ClassifierPool::Borrower final : public Classifier {
  public:
    explicit Borrower(ClassifierPool& pool) : pool_(pool) {}

    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        struct Loan {
            ClassifierPool& pool;
            Classifier& classifier = pool.take();
            ~Loan() { pool.give_back(classifier); }
        } loan{pool_};
        loan.classifier.score(windows, scores);
    }
    std::size_t classes() const override { return pool_.all_.front()->classes(); }
    bool gains_from_batches() const override { return pool_.all_.front()->gains_from_batches(); }
    std::string description() const override { return pool_.all_.front()->description(); }
    std::unique_ptr<Classifier> for_another_thread() const override { return pool_.lend(); }

  private:
    ClassifierPool& pool_;
};

ClassifierPool::ClassifierPool(Classifier& first, std::size_t most) : all_{&first} {
    while (all_.size() < most) {
        auto another = first.for_another_thread();
        if (!another) break;
        all_.push_back(another.get());
        more_.push_back(std::move(another));
    }
    free_ = all_;
}

std::unique_ptr<Classifier> ClassifierPool::lend() {
    return std::make_unique<Borrower>(*this);
}

Classifier& ClassifierPool::take() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [this] { return !free_.empty(); });
    auto& classifier = *free_.back();
    free_.pop_back();
    return classifier;
}

void ClassifierPool::give_back(Classifier& classifier) {
    {
        const std::lock_guard lock(mutex_);
        free_.push_back(&classifier);
    }
    given_back_.notify_one();
}

}  // namespace chorus
