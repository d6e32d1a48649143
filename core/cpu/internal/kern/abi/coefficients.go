// SPDX-License-Identifier: MIT

package abi

// Exp has the coefficients of e**x in single precision, after expf of Cephes. Let n be the
// integer nearest to x*Log2E, found by adding and subtracting Magic, and let r = x - n*High -
// n*Low. Then e**x = 2**n * polynomial(r), with the highest power first in Terms.
var Exp = struct {
	Lowest, Highest, Log2E, Magic, High, Low float32
	Terms                                    [8]float32
}{
	Lowest: -87.3, Highest: 88.3, // below Lowest the result is 0; x is clamped to Highest to stay finite
	Log2E: 1.4426950408889634,
	Magic: 12582912, // 1.5 * 2**23: adding it rounds to an integer
	High:  0.693359375, Low: -2.12194440e-4,
	Terms: [8]float32{
		1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1,
	},
}

// Log has the coefficients of the natural logarithm in single precision, after logf of Cephes.
// Let x = 2**k * m with sqrt(1/2) <= m < sqrt(2), and let f = m - 1. Then
// log(x) = f - f*f/2 + f**3 * polynomial(f) + k*High + k*Low.
var Log = struct {
	Root, Mantissa  uint32 // bits of sqrt(1/2); mask of the mantissa
	Largest, Least  uint32 // bits of the largest and the smallest normal number
	Half, High, Low float32
	Terms           [9]float32
}{
	Root: 0x3f3504f3, Mantissa: 0x7fffff, Largest: 0x7f7fffff, Least: 0x00800000,
	Half: 0.5, High: 0.693359375, Low: -2.12194440e-4,
	Terms: [9]float32{
		7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	},
}
