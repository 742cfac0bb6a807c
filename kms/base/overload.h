#ifndef KEYHOP_KMS_BASE_OVERLOAD_H_
#define KEYHOP_KMS_BASE_OVERLOAD_H_

namespace keyhop {

// One visitor out of several lambdas, for std::visit.
template <typename... Ts>
struct Overload : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overload(Ts...) -> Overload<Ts...>;

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_OVERLOAD_H_
