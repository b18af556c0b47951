-- Items of a list, from a place on, the greatest first.
-- KEYS: the list; items; ends; vectors. ARGV: 1 the place before, 2 how many, 3 "" to leave out
-- vectors.
-- For each its place, what is there, when it expires, its vectors.
local told = {}
for _, place in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  local field = string.sub(place, 17)
  told[#told + 1] = place
  told[#told + 1] = redis.call('HGET', KEYS[2], field)
  told[#told + 1] = redis.call('ZSCORE', KEYS[3], field)
  told[#told + 1] = ARGV[3] ~= '' and redis.call('HGET', KEYS[4], field)
end
return told
