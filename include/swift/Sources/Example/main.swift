// SPDX-License-Identifier: MIT
import NattenMPS

let shape = [1, 32, 32, 4, 64]  // batch, height, width, heads, channels
var x = (0..<shape.reduce(1, *)).map { Float($0 % 101) / 101 }
var out = [Float](repeating: 0, count: x.count)

do {
    try x.withUnsafeMutableBytes { input in
        try out.withUnsafeMutableBytes { result in
            let tensor = Tensor(input.baseAddress!, shape: shape)
            try attention(
                query: tensor, key: tensor, value: tensor,
                out: Tensor(result.baseAddress!, shape: shape), kernel: [7, 7])
        }
    }
    print("out[0] = \(out[0])")
} catch {
    print("natten_mps: \(error)")
}
