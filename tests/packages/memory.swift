// SPDX-License-Identifier: MIT
//
// A call whose tensors are in different kinds of memory is refused, whichever tensor
// differs. swift.sh runs this program in place of the example.
@testable import NattenMPS

final class Buffer {}  // stands in for MTLBuffer, which Linux lacks

let shape = [1, 8, 1, 4]
let memory = UnsafeMutableRawPointer.allocate(byteCount: 4 * 32, alignment: 64)
memory.initializeMemory(as: Float.self, repeating: 1, count: 32)
let names = ["query", "key", "value", "out"]
var refused = 0
for odd in [[0], [1], [2], [3], [0, 1, 2], [1, 3]] {
    let t = (0..<4).map { i in
        odd.contains(i)
            ? Tensor(metal: Buffer(), offset: 0, shape: shape, strides: nil) : Tensor(memory, shape: shape)
    }
    do {
        try attention(query: t[0], key: t[1], value: t[2], out: t[3], kernel: [3])
        fatalError("\(odd) in MTLBuffers was taken")
    } catch let error as NattenError {
        let named = odd.map { names[$0] }.joined(separator: ", ")
        let want = named + " of 4 tensors lie in MTLBuffers (want all in host memory, or all in MTLBuffers)"
        guard error.description == want, error.status == 1 else { fatalError("\(error)") }
        refused += 1
    }
}
let host = Tensor(memory, shape: shape)
let result = UnsafeMutableRawPointer.allocate(byteCount: 4 * 32, alignment: 64)
try attention(query: host, key: host, value: host, out: Tensor(result, shape: shape), kernel: [3])
print("\(refused) mixtures of memory refused")
