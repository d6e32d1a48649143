// swift-tools-version:5.9
// SPDX-License-Identifier: MIT
//
// Finds the library through pkg-config. To run the example: ./build.sh install PREFIX, then
// PKG_CONFIG_PATH=PREFIX/lib/pkgconfig swift run Example
import PackageDescription

let package = Package(
    name: "NattenMPS",
    products: [.library(name: "NattenMPS", targets: ["NattenMPS"])],
    targets: [
        .systemLibrary(name: "CNattenMPS", pkgConfig: "natten_mps"),
        .target(name: "NattenMPS", dependencies: ["CNattenMPS"]),
        .executableTarget(name: "Example", dependencies: ["NattenMPS"]),
    ]
)
