-- Health of a Modelfleet Rollout, from its conditions. A status of an older generation says nothing about this spec.
local hs = { status = "Progressing", message = "Waiting for the controller to read this rollout" }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "The rollout is being deleted; its devices go back first"
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.metadata.generation ~= nil and obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "Waiting for the controller to read the newest spec"
  return hs
end

local holds = {}
for _, condition in ipairs(obj.status.conditions) do
  if condition.status == "True" then
    holds[condition.type] = condition
  end
end

hs.message = obj.status.message or ""
-- What a person has to act on comes first: harm in production, and what does not go on by itself.
if holds["Breached"] ~= nil or holds["Stalled"] ~= nil or holds["RolledBack"] ~= nil then
  hs.status = "Degraded"
  if hs.message == "" and holds["Breached"] ~= nil then
    hs.message = holds["Breached"].message
  end
elseif holds["Ready"] ~= nil then
  hs.status = "Healthy"
elseif obj.status.phase == "AwaitingApproval" then
  hs.status = "Suspended"
elseif holds["Progressing"] ~= nil then
  -- A pause that ends by itself is progress, too.
  hs.status = "Progressing"
elseif holds["Paused"] ~= nil then
  hs.status = "Suspended"
end
return hs
