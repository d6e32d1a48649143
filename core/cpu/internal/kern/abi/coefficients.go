// SPDX-License-Identifier: MIT

package abi

// Exp has what e**x in single precision is computed from, after Cephes' expf: with n the
// integer nearest to x*Log2E, found by adding and subtracting Magic, and the remainder
// r = x - n*High - n*Low, it is 2**n times the polynomial of r, the highest power first.
var Exp = struct {
	Lowest, Highest, Log2E, Magic, High, Low float32
	Terms                                    [8]float32
}{
	Lowest: -87.3, Highest: 88.3, // the result is 0 below, and stays finite
	Log2E: 1.4426950408889634,
	Magic: 12582912, // 1.5 * 2**23: adding it rounds to an integer
	High:  0.693359375, Low: -2.12194440e-4,
	Terms: [8]float32{
		1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1,
	},
}

// Log has what the logarithm of x in single precision is computed from, after Cephes'
// logf: with x = 2**k * m and m from the square root of 1/2 up, it is
// f - f*f/2 + f**3 * polynomial(f) + k*High + k*Low, where f = m - 1.
var Log = struct {
	Root, Mantissa  uint32 // bits: of the least m, and of what is the mantissa in a number
	Largest, Least  uint32 // bits of the normal numbers' ends
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
