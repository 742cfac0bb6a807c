#ifndef KEYHOP_SIM_NET_DISK_H_
#define KEYHOP_SIM_NET_DISK_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "trusted_node/core/node/node.h"

namespace keyhop::sim {

// The key under which a record stands in a store: its kind and its place.
std::string RecordKey(const Record& record);
// Whether the record erases what stands under its key.
bool ErasesKey(const Record& record);
Record CopyRecord(const Record& record);

// The durable store of one simulated node: batches are atomic. An image is a copy of the map and
// shares its records.
class Disk {
 public:
  using Image = std::map<std::string, std::shared_ptr<const Record>>;

  void Apply(Record record);
  std::vector<Record> Recover() const;

  const Image& image() const { return image_; }
  void Restore(Image image) { image_ = std::move(image); }

 private:
  Image image_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_DISK_H_
