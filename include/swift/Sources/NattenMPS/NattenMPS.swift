// SPDX-License-Identifier: MIT
//
// Swift bindings of natten_mps.h: errors are thrown, a plan is destroyed with its object,
// and tensors are host memory or MTLBuffers. The bindings add no rules of their own.
import CNattenMPS

#if canImport(Metal)
import Metal
#endif

/// A status other than NATTEN_MPS_OK, with the library's message.
public struct NattenError: Error, CustomStringConvertible {
    public let status: Int32
    public let description: String
}

func check(_ body: (UnsafeMutablePointer<natten_mps_error>) -> Int32) throws {
    var details = natten_mps_error()
    details.size = UInt64(MemoryLayout<natten_mps_error>.size)
    let status = body(&details)
    guard status == 0 else {
        let text = withUnsafeBytes(of: details.message) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        throw NattenError(status: status, description: text)
    }
}

/// The element type of all tensors of a problem.
public enum ElementType: Int32 {
    case float32 = 1, float16 = 2, bfloat16 = 3, float64 = 4
}

/// Memory with a shape and strides in elements; it does not own host memory.
public struct Tensor {
    let data: UnsafeMutableRawPointer
    let offset: Int
    let owner: AnyObject?
    let isMetal: Bool
    public let shape: [Int]
    public let strides: [Int]

    /// Creates a tensor in host memory, which must outlive the run. It is dense unless
    /// strides are given.
    public init(_ data: UnsafeMutableRawPointer, shape: [Int], strides: [Int]? = nil) {
        self.data = data
        self.offset = 0
        self.owner = nil
        self.isMetal = false
        self.shape = shape
        self.strides = strides ?? Tensor.dense(shape)
    }

    #if canImport(Metal)
    /// Creates a tensor that starts at a byte offset of a Metal buffer.
    public init(_ buffer: MTLBuffer, offset: Int = 0, shape: [Int], strides: [Int]? = nil) {
        self.init(metal: buffer as AnyObject, offset: offset, shape: shape, strides: strides)
    }
    #endif

    init(metal buffer: AnyObject, offset: Int, shape: [Int], strides: [Int]?) {
        self.data = Unmanaged.passUnretained(buffer).toOpaque()
        self.offset = offset
        self.owner = buffer
        self.isMetal = true
        self.shape = shape
        self.strides = strides ?? Tensor.dense(shape)
    }

    /// Returns the common natten_mps_memory of tensors and throws if they differ: the
    /// library would read an MTLBuffer among host tensors as host memory.
    static func memory(of tensors: [(name: String, tensor: Tensor)]) throws -> Int32 {
        let metal = tensors.filter { $0.tensor.isMetal }.map { $0.name }
        guard metal.isEmpty || metal.count == tensors.count else {
            throw NattenError(
                status: 1,
                description: "\(metal.joined(separator: ", ")) of \(tensors.count) tensors lie in MTLBuffers "
                    + "(want all in host memory, or all in MTLBuffers)")
        }
        return metal.isEmpty ? 0 : 1
    }

    static func dense(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for i in stride(from: shape.count - 2, through: 0, by: -1) {
            strides[i] = strides[i + 1] * shape[i + 1]
        }
        return strides
    }

    var forC: natten_mps_tensor {
        var tensor = natten_mps_tensor()
        tensor.data = data
        tensor.offset = Int64(offset)
        withUnsafeMutableBytes(of: &tensor.strides) { bytes in
            let slots = bytes.bindMemory(to: Int64.self)
            for (i, n) in strides.prefix(slots.count).enumerated() { slots[i] = Int64(n) }
        }
        return tensor
    }
}

/// A plan. Several threads may run it at once.
public final class Plan {
    private var handle: natten_mps_plan = 0

    /// Creates a plan. `problem.size` is filled in here.
    public init(_ problem: natten_mps_problem, backend: String? = nil) throws {
        var sized = problem
        sized.size = UInt64(MemoryLayout<natten_mps_problem>.size)
        try check { natten_mps_plan_create(&sized, backend, &handle, $0) }
    }

    deinit { natten_mps_plan_destroy(handle, nil) }

    /// Runs the plan. `args.size` is filled in here.
    public func run(_ args: natten_mps_args) throws {
        var sized = args
        sized.size = UInt64(MemoryLayout<natten_mps_args>.size)
        try check { natten_mps_run(handle, &sized, $0) }
    }
}

/// Returns `range` with its key fields set to the keys that its queries need.
public func windowRange(_ axis: natten_mps_axis, _ range: natten_mps_range) throws
    -> natten_mps_range
{
    var (axis, range) = (axis, range)
    try check { natten_mps_window_range(&axis, &range, $0) }
    return range
}

/// Describes tensors that hold only a part of each axis: queries and outputs start at
/// position queryFirst, keys and values at keyFirst; length is that of the whole axis. Each
/// array has one element per axis; see natten_mps_range.
public struct Ranges {
    public var length, queryFirst, keyFirst: [Int]

    public init(length: [Int], queryFirst: [Int], keyFirst: [Int]) {
        self.length = length
        self.queryFirst = queryFirst
        self.keyFirst = keyFirst
    }
}

/// Computes fused attention (forward) on tensors of shape [batch, 1 to 3 axes, heads,
/// channels]. kernel, dilation and causal have one element per axis.
public func attention(
    query: Tensor, key: Tensor, value: Tensor, out: Tensor, type: ElementType = .float32,
    kernel: [Int], dilation: [Int]? = nil, causal: [Bool]? = nil, scale: Double? = nil,
    ranges: Ranges? = nil, backend: String? = nil
) throws {
    let rank = query.shape.count - 3
    let perAxis = [
        kernel.count, dilation?.count ?? rank, causal?.count ?? rank, ranges?.length.count ?? rank,
        ranges?.queryFirst.count ?? rank, ranges?.keyFirst.count ?? rank,
    ]
    guard (1...3).contains(rank), key.shape.count == rank + 3, value.shape.count == rank + 3,
        out.shape.count == rank + 3, perAxis.allSatisfy({ $0 == rank }),
        value.shape[...rank] == key.shape[...rank], key.shape[0] == query.shape[0],
        ranges == nil
            ? key.shape[...rank] == query.shape[...rank]
            : (key.shape[1...rank] + query.shape[1...rank]).allSatisfy({ $0 > 0 }),
        out.shape[...(rank + 1)] == query.shape[...(rank + 1)],
        out.shape[rank + 2] == value.shape[rank + 2], key.shape[rank + 1] == value.shape[rank + 1],
        key.shape[rank + 2] == query.shape[rank + 2]
    else {
        throw NattenError(
            status: 1,
            description: "tensors are \(query.shape), \(key.shape), \(value.shape) and \(out.shape), "
                + "kernel \(kernel) (want [batch, 1 to 3 axes, heads, channels] and one number per axis)")
    }
    var problem = natten_mps_problem()
    problem.op = Int32(NATTEN_MPS_ATTN_FORWARD.rawValue)
    problem.dtype = type.rawValue
    problem.memory = try Tensor.memory(
        of: [("query", query), ("key", key), ("value", value), ("out", out)])
    problem.rank = Int32(rank)
    problem.batch = Int64(query.shape[0])
    problem.heads = Int64(query.shape[rank + 1])
    problem.kv_heads = Int64(key.shape[rank + 1])
    problem.head_dim = Int64(query.shape[rank + 2])
    problem.value_dim = Int64(value.shape[rank + 2])
    if let scale {
        problem.flags = 1
        problem.scale = scale
    }
    withUnsafeMutableBytes(of: &problem.axes) { bytes in
        let axes = bytes.bindMemory(to: natten_mps_axis.self)
        for i in 0..<rank {
            axes[i].length = Int64(ranges?.length[i] ?? query.shape[1 + i])
            axes[i].kernel = Int64(kernel[i])
            axes[i].dilation = Int64(dilation?[i] ?? 1)
            axes[i].causal = causal?[i] == true ? 1 : 0
        }
    }
    if let ranges {
        withUnsafeMutableBytes(of: &problem.ranges) { bytes in
            let slots = bytes.bindMemory(to: natten_mps_range.self)
            for i in 0..<rank {
                slots[i].query_first = Int64(ranges.queryFirst[i])
                slots[i].query_count = Int64(query.shape[1 + i])
                slots[i].key_first = Int64(ranges.keyFirst[i])
                slots[i].key_count = Int64(key.shape[1 + i])
            }
        }
    }
    var args = natten_mps_args()
    args.query = query.forC
    args.key = key.forC
    args.value = value.forC
    args.out = out.forC
    let plan = try Plan(problem, backend: backend)
    try withExtendedLifetime((query.owner, key.owner, value.owner, out.owner)) {
        try plan.run(args)
    }
}
